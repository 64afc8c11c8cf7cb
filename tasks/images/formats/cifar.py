"""The binary versions of CIFAR-10 and CIFAR-100.

Format: records of one label (CIFAR-100: a coarse and a fine one) and 32 x 32 values of red, then of
green, then of blue, all unsigned bytes; class names in text files, a line each.
Source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from tasks.core.errors import StepError
from tasks.images.arrays.views import ConvertedRows
from tasks.images.formats.errors import DAMAGED, read_errors_explained, shown
from tasks.images.rows import ChainedRows, LeftOut, RawDataset, RawSplit, Rows, StreamRows

SIDE, COLOURS = 32, 3
IMAGE_BYTES = COLOURS * SIDE * SIDE
MAX_NAMES_BYTES = 2**16
Level = Literal["fine", "coarse"]


class _Version(NamedTuple):
    train: tuple[str, ...]
    test: str
    names: dict[Level, str]
    """The file of class names of each column of labels, by its level."""
    columns: tuple[Level, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test)


CIFAR_10 = _Version(
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test_batch.bin",
    {"fine": "batches.meta.txt"},
    ("fine",),
)
CIFAR_100 = _Version(
    ("train.bin",),
    "test.bin",
    {"coarse": "coarse_label_names.txt", "fine": "fine_label_names.txt"},
    ("coarse", "fine"),
)
PICKLES = ("data_batch_1", "test_batch", "batches.meta", "train", "test", "meta")


def open_cifar(folder: Path, level: Level = "fine") -> RawDataset:
    """Open the files of a folder, or of the one folder in it that has them.

    Args:
        level: which labels of CIFAR-100.

    Raises:
        StepError: files are missing, or are those of Python's version.
    """
    folder, version = _find(folder)
    level = level if level in version.columns else "fine"
    missing = [name for name in version.files if not (folder / name).is_file()]
    if missing:
        raise StepError(f"{folder} lacks {', '.join(missing)}: place all files of the set there")
    names = version.names[level]
    used = (*version.files, names)
    left_out = {
        LeftOut("not used", shown(path.name)): 1
        for path in sorted(folder.iterdir())
        if path.name not in used and not path.name.startswith(".")
    }
    train = [_open_split(folder / name, version, level) for name in version.train]
    return RawDataset(
        RawSplit(
            ChainedRows([split.images for split in train]),
            ChainedRows([split.labels for split in train if split.labels]),
        ),
        _open_split(folder / version.test, version, level),
        _read_names(folder / names),
        left_out,
    )


def cifar_paths(folder: Path) -> list[Path]:
    """All files that `open_cifar` reads."""
    folder, version = _find(folder)
    return [folder / name for name in (*version.files, *version.names.values())]


def _find(folder: Path) -> tuple[Path, _Version]:
    if not folder.is_dir():
        raise StepError(
            f"{folder} is not a folder: unpack cifar-10-binary.tar.gz with tar -xzf and name the "
            "folder"
        )
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    for place in places:
        for version in (CIFAR_10, CIFAR_100):
            if (place / version.train[0]).exists():
                return place, version
    if any((place / name).is_file() for place in places for name in PICKLES):
        raise StepError(
            f"{folder} has the Python version, whose pickles are code: download the binary version "
            "of the set, cifar-10-binary.tar.gz or cifar-100-binary.tar.gz"
        )
    raise StepError(
        f"{folder} has neither {CIFAR_10.train[0]} nor {CIFAR_100.train[0]}: place the files of "
        "the binary version there"
    )


def _open_split(path: Path, version: _Version, level: Level) -> RawSplit:
    labels = len(version.columns)
    column, record_bytes = version.columns.index(level), labels + IMAGE_BYTES
    with read_errors_explained(path, "a CIFAR file"):
        size = path.stat().st_size
    if size % record_bytes or not size:
        raise StepError(
            f"{path} has {size} bytes, expected a multiple of {record_bytes}, a label and an image "
            f"each: {DAMAGED}"
        )
    shape, dtype = (size // record_bytes, record_bytes), np.dtype(np.uint8)
    records: Rows = StreamRows(str(path), shape, dtype, partial(_open, path))
    return RawSplit(
        ConvertedRows(
            records,
            (SIDE, SIDE, COLOURS),
            np.uint8,
            lambda block, _: (
                block[:, labels:].reshape(-1, COLOURS, SIDE, SIDE).transpose(0, 2, 3, 1)
            ),
        ),
        ConvertedRows(records, (), np.uint8, lambda block, _: block[:, column]),
    )


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with read_errors_explained(path, "a CIFAR file"), path.open("rb") as file:
        yield file


def _read_names(path: Path) -> tuple[str, ...]:
    """The lines of a file of class names; none if there is no such file."""
    if not path.is_file():
        return ()
    with _open(path) as file:
        content = file.read(MAX_NAMES_BYTES)
    lines = content.decode("utf-8", errors="replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())
