"""IDX files, as MNIST and its relatives are published.

Format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit
integer, then the values, big-endian. Source: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.formats.errors import (
    DAMAGED,
    GZIP_MAGIC,
    MAX_DEFLATE_RATIO,
    read_errors_explained,
    shown,
)
from tasks.images.rows import LeftOut, RawDataset, RawSplit, Rows, StreamRows

UNSIGNED_BYTE = 8
TYPES = {UNSIGNED_BYTE: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
FILE_NAME = re.compile(
    r"(?P<prefix>.*?)[-_.]?(?P<split>train|t10k|test)[-_.](?P<part>images|labels)"
    r"([-_.]idx\d[-_.][a-z]+)?(\.idx)?(\.gz)?",
    re.IGNORECASE,
)
"""Such as `t10k-labels.idx1-ubyte.gz` and `emnist-letters-test-images-idx3-ubyte`."""
IMAGE_DIMENSIONS, LABEL_DIMENSIONS = (3, 4), (1, 2)


class IdxFolder(NamedTuple):
    """The files of one set in a folder."""

    files: dict[str, Path]
    """By part: `train_images` and whichever of the others of `IDX_FILES` exist."""
    prefix: str
    """What their names begin with, such as `emnist-letters`; mostly empty."""
    left_out: dict[LeftOut, int]
    """Files that are there and are not used."""


def find_idx_files(folder: Path, prefix: str | None = None) -> IdxFolder:
    """Find the files of a set in a folder or in folders in it, one level deep.

    Args:
        prefix: what their names begin with, if the folder has several sets.

    Raises:
        StepError: there are none, or those of several sets.
    """
    if not folder.is_dir():
        raise StepError(f"{folder} is not a folder: place the IDX files there")
    paths = _list_files(folder)
    sets: dict[str, dict[str, Path]] = {}
    for path in sorted(paths, key=partial(_preference, folder)):
        if match := FILE_NAME.fullmatch(path.name):
            split = "train" if match["split"].lower() == "train" else "test"
            files = sets.setdefault(match["prefix"], {})
            files.setdefault(f"{split}_{match['part'].lower()}", path)
    chosen = _choose_prefix(folder, sets, prefix)
    files = sets[chosen]
    if "test_images" not in files:
        files.pop("test_labels", None)  # it is named among what is left out
    unused = (path for path in paths if path not in files.values())
    left_out = {
        LeftOut("not used", shown(path.relative_to(folder))): 1
        for path in unused
        if not path.name.startswith(".")
    }
    return IdxFolder(files, chosen, left_out)


def _list_files(folder: Path) -> list[Path]:
    try:
        inner = [path for path in folder.iterdir() if path.is_dir()]
        return sorted(
            path for parent in (folder, *inner) for path in parent.iterdir() if path.is_file()
        )
    except OSError as error:
        raise StepError(f"{error.filename} cannot be read: {error.strerror}") from None


def _preference(folder: Path, path: Path) -> tuple[bool, bool, bool, str]:
    """Of several files of one part, the first is used: the one that was there before unpacking."""
    is_usual = path.name.removesuffix(".gz") in IDX_FILES.values()
    return path.parent != folder, not is_usual, path.suffix == ".gz", str(path)


def _choose_prefix(folder: Path, sets: dict[str, dict[str, Path]], prefix: str | None) -> str:
    complete = [name for name, files in sets.items() if "train_images" in files]
    wanted = None if prefix is None else prefix.rstrip("-_.")
    if wanted is None and ("" in complete or len(complete) == 1):
        return "" if "" in complete else complete[0]
    if wanted in complete:
        return str(wanted)
    if not complete:
        raise StepError(
            f"{folder / IDX_FILES['train_images']}.gz is missing: place it there, unpacked or not"
        )
    flag = "choose with --source.idx-prefix" if wanted is None else f"none of {wanted}"
    raise StepError(f"{folder} has the sets {', '.join(sorted(complete))}: {flag}")


def open_idx_folder(folder: Path) -> RawDataset:
    """Open the files of a folder; only the one of training images must exist."""
    return open_idx_files(find_idx_files(folder).files)


def open_idx_files(files: dict[str, Path]) -> RawDataset:
    """Open files by part, as `find_idx_files` finds them."""

    def open_split(split: Split) -> RawSplit:
        labels = files.get(f"{split}_labels")
        return RawSplit(
            images=open_idx(files[f"{split}_images"], IMAGE_DIMENSIONS),
            labels=open_idx(labels, LABEL_DIMENSIONS) if labels else None,
        )

    return RawDataset(open_split("train"), open_split("test") if "test_images" in files else None)


def open_idx(path: Path, dimensions: tuple[int, ...]) -> Rows:
    """Open the array of an IDX file, gzipped or not, whatever its name; check its header.

    Args:
        dimensions: numbers of dimensions it may have: 3 or 4 for images, (N, height, width
            [, channels]), 1 or 2 for labels, (N,) or (N, columns).
    """
    with read_errors_explained(path, "an IDX file"), path.open("rb") as packed:
        is_gzipped = packed.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    with _open(path, is_gzipped) as file:
        shape, dtype = _read_header(file, path, dimensions)
        header_bytes = file.tell()
    limit = (MAX_DEFLATE_RATIO if is_gzipped else 1) * path.stat().st_size
    if math.prod(shape) * dtype.itemsize > limit:
        raise StepError(
            f"{path} announces {'x'.join(map(str, shape))} values, expected at most {limit} bytes, "
            f"the most that a file of its size can hold: {DAMAGED}"
        )
    return StreamRows(str(path), shape, dtype, partial(_open, path, is_gzipped, header_bytes))


@contextmanager
def _open(path: Path, is_gzipped: bool, skip: int = 0) -> Iterator[BinaryIO]:
    opener = gzip.open if is_gzipped else open
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
        raise StepError(f"{path} ends within its header: {DAMAGED}")
    return struct.unpack(f">{count}I", header), np.dtype(TYPES[magic[2]])
