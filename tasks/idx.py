"""The IDX files of the MNIST family: reading with care, and their digest.

Format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the values. Source: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from tasks.errors import StepError
from tasks.records import Sha256

UNSIGNED_BYTE = 8
MAX_BYTES = 16 * 2**30
"""Largest array read from an IDX file."""
MAX_GZIP_RATIO = 1032
"""Deflate cannot expand a file further: https://zlib.net/zlib_tech.html"""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzip-compressed IDX file of unsigned bytes.

    Args:
        path: the file.
        dimensions: 3 for images (N, height, width), 1 for labels (N,).

    Raises:
        StepError: the file is missing, damaged, or not what was expected. Nothing is allocated
            before its header is known to be plausible.
    """
    try:
        with gzip.open(path) as file:
            return _read_array(cast(BinaryIO, file), path, dimensions)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise StepError(f"{path} is truncated or damaged ({error}): fetch it again") from None


def _read_array(file: BinaryIO, path: Path, dimensions: int) -> NDArray[np.uint8]:
    expected_magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    magic = file.read(4)
    if magic != expected_magic:
        raise StepError(
            f"{path} starts with {magic.hex() or 'nothing'}, expected {expected_magic.hex()} "
            f"(IDX, unsigned bytes, {dimensions} dimensions): is it another file of the set?"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise StepError(f"{path} ends within its header: fetch it again")
    shape = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape)
    limit = min(MAX_BYTES, MAX_GZIP_RATIO * path.stat().st_size)
    if not 0 < size <= limit:
        raise StepError(
            f"{path} announces {'x'.join(map(str, shape))} values, expected 1 to {limit}, "
            "the most that a file of its size can hold: fetch it again"
        )
    values = file.read(size + 1)  # one more than announced, to see whether it ends there
    if len(values) != size:
        found = "more" if len(values) > size else str(len(values))
        raise StepError(f"{path} announces {size} values but holds {found}: fetch it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def idx_sha256(array: NDArray[np.uint8]) -> Sha256:
    """SHA-256 of the array as an uncompressed IDX file."""
    header = bytes([0, 0, UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    digest = hashlib.sha256(header)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
