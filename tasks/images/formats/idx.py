"""The IDX files of the MNIST family: reading with care, and the digest of what they hold.

Format: two zero bytes, the type, the number of dimensions, each dimension as a big-endian 32-bit
integer, then the values, big-endian. Source: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Sha256
from tasks.images.rows import Rows, StreamRows

UNSIGNED_BYTE = 8
TYPES = {UNSIGNED_BYTE: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MAX_BYTES = 2**40
"""Largest array read from an IDX file."""
MAX_GZIP_RATIO = 1032
"""Deflate cannot expand a file further: https://zlib.net/zlib_tech.html"""
GZIP_SUFFIX = ".gz"


def open_idx(path: Path, dimensions: tuple[int, ...]) -> Rows:
    """The rows of an IDX file, compressed if its name ends in `.gz`.

    Args:
        dimensions: how many it may have: 3 or 4 for images, (N, height, width[, channels]), 1 for
            labels, (N,).

    Raises:
        StepError: the file is missing, or its header is damaged or not what was expected. Nothing
            is allocated before the header is known to be plausible.
    """
    with _open(path) as file:
        shape, dtype = _read_header(file, path, dimensions)
        header_bytes = file.tell()
    return StreamRows(str(path), shape, dtype, partial(_open, path, header_bytes))


@contextmanager
def _open(path: Path, skip: int = 0) -> Iterator[BinaryIO]:
    opener = gzip.open if path.suffix == GZIP_SUFFIX else open
    try:
        with opener(path, "rb") as file:
            file.read(skip)
            yield cast(BinaryIO, file)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise StepError(f"{path} is truncated or damaged ({error}): fetch it again") from None


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
    size = math.prod(shape) * dtype.itemsize
    ratio = MAX_GZIP_RATIO if path.suffix == GZIP_SUFFIX else 1
    limit = min(MAX_BYTES, ratio * path.stat().st_size)
    if size > limit:
        raise StepError(
            f"{path} announces {'x'.join(map(str, shape))} values, expected at most {limit} bytes, "
            "the most that a file of its size can hold: fetch it again"
        )
    return shape, dtype


class IdxDigest:
    """SHA-256 of an array as an uncompressed IDX file of unsigned bytes, block by block.

    Other types, which IDX lacks or writes the other way round, have their NumPy name in place of
    the type.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Digest the header."""
        kind = bytes([UNSIGNED_BYTE]) if dtype == np.uint8 else dtype.str.encode()
        header = bytes(2) + kind + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        self._digest = hashlib.sha256(header)

    def update(self, block: NDArray[Any]) -> None:
        """Digest consecutive rows."""
        self._digest.update(np.ascontiguousarray(block).data)

    def hexdigest(self) -> Sha256:
        """The digest so far."""
        return self._digest.hexdigest()


def idx_sha256(array: NDArray[Any]) -> Sha256:
    """The digest of an array that is there whole, as a rule memory-mapped."""
    digest = IdxDigest(array.shape, array.dtype)
    rows = max(1, 2**24 // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(array[start : start + rows])
    return digest.hexdigest()
