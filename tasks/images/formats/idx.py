"""IDX files, as MNIST and its relatives are published.

Format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit
integer, then the values, big-endian. Source: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.formats.errors import MAX_DEFLATE_RATIO, read_errors_explained
from tasks.images.rows import RawDataset, RawSplit, Rows, StreamRows

UNSIGNED_BYTE = 8
TYPES = {UNSIGNED_BYTE: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP_SUFFIX = ".gz"
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
IMAGE_DIMENSIONS, LABEL_DIMENSIONS = (3, 4), (1,)


def open_idx_folder(folder: Path) -> RawDataset:
    """Open the files of a folder; only the one of training images must exist."""
    if not folder.is_dir():
        raise StepError(f"{folder} is not a folder: place the IDX files there")
    train = _open_split(folder, "train")
    has_test = idx_path(folder, IDX_FILES["test_images"]).exists()
    return RawDataset(train, _open_split(folder, "test") if has_test else None)


def idx_path(folder: Path, name: str) -> Path:
    """The path of a file, or of its gzipped form if it does not exist."""
    plain = folder / name
    return plain if plain.exists() else plain.with_name(name + GZIP_SUFFIX)


def _open_split(folder: Path, split: Split) -> RawSplit:
    images = idx_path(folder, IDX_FILES[f"{split}_images"])
    labels = idx_path(folder, IDX_FILES[f"{split}_labels"])
    return RawSplit(
        images=open_idx(images, IMAGE_DIMENSIONS),
        labels=open_idx(labels, LABEL_DIMENSIONS) if labels.exists() else None,
    )


def open_idx(path: Path, dimensions: tuple[int, ...]) -> Rows:
    """Open the array of an IDX file, compressed if its name ends in `.gz`; check its header.

    Args:
        dimensions: numbers of dimensions it may have: 3 or 4 for images, (N, height, width
            [, channels]), 1 for labels, (N,).
    """
    with _open(path) as file:
        shape, dtype = _read_header(file, path, dimensions)
        header_bytes = file.tell()
    return StreamRows(str(path), shape, dtype, partial(_open, path, header_bytes))


@contextmanager
def _open(path: Path, skip: int = 0) -> Iterator[BinaryIO]:
    opener = gzip.open if path.suffix == GZIP_SUFFIX else open
    with (
        read_errors_explained(path, "an IDX file", EOFError, zlib.error),
        opener(path, "rb") as file,
    ):
        file.read(skip)
        yield cast(BinaryIO, file)


def _read_header(
    file: BinaryIO, path: Path, dimensions: tuple[int, ...]
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    magic = file.read(4)
    known = len(magic) == 4 and magic[:2] == bytes(2) and magic[2] in TYPES
    if not known or magic[3] not in dimensions:
        raise StepError(
            f"{path} starts with {magic.hex() or 'nothing'}, expected an IDX header with "
            f"{' or '.join(map(str, dimensions))} dimensions: is it another file of the set?"
        )
    count = magic[3]
    header = file.read(4 * count)
    if len(header) < 4 * count:
        raise StepError(f"{path} ends within its header: fetch it again")
    shape, dtype = struct.unpack(f">{count}I", header), np.dtype(TYPES[magic[2]])
    ratio = MAX_DEFLATE_RATIO if path.suffix == GZIP_SUFFIX else 1
    limit = ratio * path.stat().st_size
    if math.prod(shape) * dtype.itemsize > limit:
        raise StepError(
            f"{path} announces {'x'.join(map(str, shape))} values, expected at most {limit} bytes, "
            "the most that a file of its size can hold: fetch it again"
        )
    return shape, dtype
