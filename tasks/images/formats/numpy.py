"""NumPy's files: `.npy`, memory-mapped, and `.npz` archives, read without unpacking them.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from tasks.core.errors import StepError
from tasks.images.formats.errors import MAX_DEFLATE_RATIO, read_errors_explained
from tasks.images.rows import ArrayRows, Rows, StreamRows

DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, OverflowError, EOFError),
    *(NotImplementedError, RuntimeError),  # what zipfile raises for encrypted archives
)
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_npy(path: Path) -> Rows:
    """Open the array of an `.npy` file."""
    with read_errors_explained(path, "an .npy file", ValueError, OverflowError, EOFError):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise StepError(f"{path} is not an .npy file with rows")
    if not array.flags.c_contiguous:  # each row would be read from all over the file
        raise StepError(f"{path} must hold rows in C order: save np.ascontiguousarray of it")
    return ArrayRows(str(path), array)


def open_npz(path: Path, name: str) -> Rows:
    """Open an array of an `.npz` archive."""
    with read_errors_explained(path, "an .npz file", *DAMAGE), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if member.endswith(".npy")]
        names = [member.removesuffix(".npy") for member in members]
        if name not in names:
            raise StepError(
                f"{path} has no array {name}, expected one of {', '.join(names) or 'none'}"
            )
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as file:
            shape, dtype = _read_header(file, f"{path}[{name}]")
            header_bytes = file.tell()
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_DEFLATE_RATIO * member.compress_size:
        raise StepError(
            f"{path}[{name}] announces {size} bytes, more than the file can hold: save it again"
        )
    return StreamRows(
        f"{path}[{name}]", shape, dtype, partial(_open_values, path, member, header_bytes)
    )


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran_order, dtype = HEADER_READERS[version](file)
    if fortran_order or dtype.hasobject or not shape or min(shape) < 0:
        raise StepError(f"{name} must hold rows of numbers in C order: save it again")
    return shape, dtype


@contextmanager
def _open_values(path: Path, member: zipfile.ZipInfo, header_bytes: int) -> Iterator[BinaryIO]:
    with (
        read_errors_explained(path, "an .npz file", *DAMAGE),
        zipfile.ZipFile(path) as archive,
        archive.open(member) as file,
    ):
        file.read(header_bytes)
        yield cast(BinaryIO, file)
