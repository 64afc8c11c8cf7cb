"""Fashion-MNIST: what it must hold, and the places to get it from."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Sha256
from tasks.images.rows import ArrayRows
from tasks.images.sources import RawDataset, RawSplit, open_idx_folder

NAME = "fashion-mnist"
PAYLOADS: dict[str, Sha256] = {
    "train_images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train_labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "test_images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "test_labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the four decompressed IDX files as Zalando published them."""
CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
CONNECT_SECONDS = 10
"""How long to wait for a silent server before the next place is tried."""
PACKAGE_SECONDS = 180
"""Upper bound for each call of the package tools; the package has 30 MB."""


class Place(NamedTuple):
    """One place to get the images from."""

    name: str
    open: Callable[[], AbstractContextManager[RawDataset]]


def places() -> list[Place]:
    """Where to look, nearest first."""
    return [
        Place(f"folder {SYSTEM_FOLDER}", lambda: nullcontext(open_idx_folder(SYSTEM_FOLDER))),
        Place("keras.datasets.fashion_mnist", lambda: nullcontext(load_with_keras())),
        Place(f"Debian package {DEBIAN_PACKAGE}", open_debian_package),
    ]


def load_with_keras() -> RawDataset:
    """Read Fashion-MNIST as Keras does, which downloads it on first use."""
    from tasks.core.backend import keras  # takes seconds and is needed by no other place

    with default_socket_timeout(CONNECT_SECONDS):
        train, test = keras.datasets.fashion_mnist.load_data()
    return RawDataset(_in_memory("training", *train), _in_memory("test", *test))


def _in_memory(split: str, images: NDArray[Any], labels: NDArray[Any]) -> RawSplit:
    return RawSplit(
        ArrayRows(f"Keras's {split} images", images), ArrayRows(f"Keras's {split} labels", labels)
    )


@contextmanager
def default_socket_timeout(seconds: float) -> Iterator[None]:
    """Bound how long new sockets wait. Keras's downloader has no setting of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def open_debian_package() -> Iterator[RawDataset]:
    """Download and unpack the Debian/Ubuntu package, without root and without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise StepError(f"{tool} was not found: this place needs Debian or Ubuntu")
    with TemporaryDirectory(prefix="fashion-mnist-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        apt_get = ["apt-get", "-q", *_apt_options(folder)]
        _run([*apt_get, "update"], folder)
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
        package = next(folder.glob(f"{DEBIAN_PACKAGE}_*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
        yield open_idx_folder(folder / SYSTEM_FOLDER.relative_to("/"))


def _apt_options(folder: Path) -> list[str]:
    """Keep apt's lists and cache in a folder of ours, and its waits short."""
    settings = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Retries": 0,
        "Acquire::http::Timeout": CONNECT_SECONDS,
        "Acquire::https::Timeout": CONNECT_SECONDS,
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=PACKAGE_SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        raise StepError(f"{command[0]} failed: {lines[-1]}") from None
    except subprocess.TimeoutExpired:
        raise StepError(f"{command[0]} gave no result within {PACKAGE_SECONDS} s") from None
