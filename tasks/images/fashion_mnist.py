"""Fashion-MNIST: its published contents, and the places to get it from."""

import logging
import shutil
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from tasks.core.errors import StepError, TransientError
from tasks.core.records import Sha256
from tasks.images.checks import check_arrays
from tasks.images.digest import rows_sha256
from tasks.images.formats.idx import IDX_FILES, open_idx_folder
from tasks.images.rows import ArrayRows, RawDataset, RawSplit
from tasks.images.store import open_copy

logger = logging.getLogger(__name__)

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


def places(copy: Path) -> dict[str, Callable[[], RawDataset]]:
    """By name, how to open each place to look, nearest first.

    Args:
        copy: folder of the dataset in the artifacts folder; it need not exist.
    """
    stored = {f"the copy {copy.name}": partial(open_copy, copy)} if copy.exists() else {}
    return {
        **stored,
        str(SYSTEM_FOLDER): open_system_folder,
        "keras.datasets": load_with_keras,
        f"the Debian package {DEBIAN_PACKAGE}": load_debian_package,
    }


def open_first_place(copy: Path) -> tuple[str, RawDataset]:
    """Open the first place that has the published images; return its name and contents.

    Raises:
        TransientError: there is none; the message has all reasons.
    """
    reasons, openers = [], places(copy)
    for name, following in zip_longest(openers, list(openers)[1:]):
        try:
            return name, check_published(openers[name]())
        except (StepError, OSError, ValueError) as error:
            reasons.append(f"{error} ({error.__cause__})" if error.__cause__ else str(error))
            if following:
                logger.info("%s; trying %s", error, following)
    raise TransientError(
        f"{NAME} is not available: {'; '.join(reasons)}. Place "
        f"{', '.join(f'{file}.gz' for file in IDX_FILES.values())} in a folder and name it with "
        "--source.idx-folder"
    )


def check_published(raw: RawDataset) -> RawDataset:
    """Compare a source with what was published; return it with the names of the classes.

    Raises:
        StepError: an array is missing or has another SHA-256.
    """
    arrays = check_arrays(raw.splits).arrays
    missing = PAYLOADS.keys() - arrays.keys()
    if missing:
        raise StepError(f"{' and '.join(sorted(missing))} are missing: place their files there")
    parts = {sha256: f"the {part}" for part, sha256 in PAYLOADS.items()}
    for part, expected in PAYLOADS.items():
        sha256 = rows_sha256(arrays[part])
        if sha256 != expected:
            raise StepError(
                f"{part} hold {parts.get(sha256, f'SHA-256 {sha256[:12]}...')}, expected SHA-256 "
                f"{expected[:12]}..., the published {IDX_FILES[part]}: fetch it again, or give "
                "your own images another dataset name"
            )
    return raw._replace(class_names=CLASSES)


def open_system_folder() -> RawDataset:
    """Open the files that the Debian package installs."""
    if not SYSTEM_FOLDER.is_dir():
        raise StepError(f"Fashion-MNIST is not in {SYSTEM_FOLDER}")
    return open_idx_folder(SYSTEM_FOLDER)


def load_with_keras() -> RawDataset:
    """Read Fashion-MNIST with Keras, which downloads it on first use."""
    # Takes seconds; no other place needs it.
    from tasks.core.backend import keras, keras_folder

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)  # Keras's download has no setting for it
    try:
        keras_folder().mkdir(parents=True, exist_ok=True)  # otherwise Keras writes to /tmp
        train, test = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises plain ones
        raise StepError("Could not download from keras.datasets (no network?)") from error
    finally:
        socket.setdefaulttimeout(before)
    return RawDataset(_in_memory("Keras's training", *train), _in_memory("Keras's test", *test))


def _in_memory(name: str, images: NDArray[Any], labels: NDArray[Any]) -> RawSplit:
    return RawSplit(ArrayRows(f"{name} images", images), ArrayRows(f"{name} labels", labels))


def load_debian_package() -> RawDataset:
    """Download and unpack the package, without root and without installing it; read it."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise StepError(f"{tool} was not found: {DEBIAN_PACKAGE} needs Debian or Ubuntu")
    with TemporaryDirectory(prefix="fashion-mnist-") as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        apt_get = ["apt-get", "-q", *_apt_options(folder)]
        _run([*apt_get, "update"], folder)
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
        package = next(folder.glob(f"{DEBIAN_PACKAGE}_*.deb"), None)
        if package is None:
            raise StepError(f"apt-get downloaded no package {DEBIAN_PACKAGE}")
        _run(["dpkg-deb", "-x", str(package), str(folder)], folder)
        raw = open_idx_folder(folder / SYSTEM_FOLDER.relative_to("/"))
        return RawDataset(_load(raw.train), raw.test and _load(raw.test))


def _load(split: RawSplit) -> RawSplit:
    """Read the values while their files exist."""
    labels = split.labels and ArrayRows(split.labels.name, split.labels.read())
    return RawSplit(ArrayRows(split.images.name, split.images.read()), labels)


def _apt_options(folder: Path) -> list[str]:
    """Keep apt's lists and cache in our folder, and its waits short."""
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
        raise StepError(f"{command[0]} did not end within {PACKAGE_SECONDS} s") from None
