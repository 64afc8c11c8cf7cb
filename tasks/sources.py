"""Where images come from. Whatever a source gives is checked by its caller."""

import logging
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.errors import StepError
from tasks.idx import read_idx

logger = logging.getLogger(__name__)

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
CONNECT_SECONDS = 10
"""How long to wait for a silent server before the next source is tried."""
PACKAGE_SECONDS = 180
"""Upper bound for each call of the package tools; the package has 30 MB."""


class RawDataset(NamedTuple):
    """The four arrays of a dataset, unsigned bytes, as their source gave them."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


IDX_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


class Source(NamedTuple):
    """One place to get a dataset from."""

    name: str
    read: Callable[[], RawDataset]


def folder_source(folder: Path) -> Source:
    """The four IDX files in a folder."""
    return Source(f"folder {folder.name}", lambda: read_folder(folder))


def fashion_mnist_sources() -> list[Source]:
    """Where to look for Fashion-MNIST, nearest first."""
    return [
        folder_source(SYSTEM_FOLDER),
        Source("keras.datasets.fashion_mnist", read_keras),
        Source(f"Debian package {DEBIAN_PACKAGE}", read_debian_package),
    ]


def read_folder(folder: Path) -> RawDataset:
    """Read the four IDX files of a folder.

    Raises:
        StepError: a file is missing, damaged or of the wrong kind.
    """
    if not folder.is_dir():
        raise StepError(f"{folder} is not a folder: place the four IDX files there")
    return RawDataset(
        **{
            part: read_idx(folder / name, dimensions=3 if part.endswith("images") else 1)
            for part, name in IDX_FILES.items()
        }
    )


def read_keras() -> RawDataset:
    """Read Fashion-MNIST as Keras does, which downloads it on first use."""
    import keras  # takes seconds and is needed by no other source

    with default_socket_timeout(CONNECT_SECONDS):
        (train_images, train_labels), (test_images, test_labels) = (
            keras.datasets.fashion_mnist.load_data()
        )
    return RawDataset(train_images, train_labels, test_images, test_labels)


@contextmanager
def default_socket_timeout(seconds: float) -> Iterator[None]:
    """Bound how long new sockets wait. Keras's downloader has no setting of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_debian_package() -> RawDataset:
    """Download and unpack the Debian/Ubuntu package, without root and without installing it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise StepError(f"{tool} was not found: this source needs Debian or Ubuntu")
    with TemporaryDirectory(prefix="fashion-mnist-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        apt_get = ["apt-get", "-q", *_apt_options(folder)]
        _run([*apt_get, "update"], folder)
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
        package = next(folder.glob(f"{DEBIAN_PACKAGE}_*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
        return read_folder(folder / SYSTEM_FOLDER.relative_to("/"))


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
