"""Arrays in files of NumPy and HDF5, opened with care."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import h5py
import numpy as np

from tasks.core.errors import StepError
from tasks.images.formats.idx import MAX_GZIP_RATIO
from tasks.images.rows import ArrayRows, Rows, StreamRows

MAX_CHUNK_BYTES = 256 * 2**20
"""Largest chunk of an HDF5 dataset; one is in memory at a time."""
CHUNK_ROWS_BYTES = 64 * 2**20
"""Upper bound of the rows that are read together as their chunks are: these may hold parts of very
many rows, and are then unpacked several times."""


def open_npy(path: Path) -> Rows:
    """The rows of an `.npy` file.

    Raises:
        StepError: it is missing, damaged, or holds Python objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except (ValueError, OverflowError, EOFError, OSError) as error:
        raise StepError(f"{path} cannot be read as an .npy file: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise StepError(f"{path} is no .npy file with rows")
    if not array.flags.c_contiguous:  # each row would be read from all over the file
        raise StepError(f"{path} must hold rows in C order: save np.ascontiguousarray of it")
    return ArrayRows(str(path), array)


def open_npz(path: Path, name: str) -> Rows:
    """The rows of an array in an `.npz` file; it is never unpacked whole.

    Raises:
        StepError: it is missing, damaged, holds Python objects, or the array is not there.
    """
    where = f"{path}[{name}]"
    with _npz_errors_explained(path), zipfile.ZipFile(path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if name not in names:
            raise StepError(f"{path} has no array {name}, but {', '.join(names) or 'nothing'}")
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as file:
            shape, fortran_order, dtype = _read_npy_header(file)
            header_bytes = file.tell()
        if fortran_order or dtype.hasobject or not shape or min(shape) < 0:
            raise StepError(f"{where} must hold rows of numbers in C order: save it again")
        size = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
        if size > MAX_GZIP_RATIO * member.compress_size:
            raise StepError(f"{where} announces {size} bytes, more than the file can hold")
    return StreamRows(where, shape, dtype, partial(_open_member, path, member, header_bytes))


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format")
    return read(file)


@contextmanager
def _open_member(path: Path, member: zipfile.ZipInfo, skip: int) -> Iterator[BinaryIO]:
    with (
        _npz_errors_explained(path),
        zipfile.ZipFile(path) as archive,
        archive.open(member) as file,
    ):
        file.read(skip)
        yield cast(BinaryIO, file)


@contextmanager
def _npz_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except (
        *(zipfile.BadZipFile, zlib.error, ValueError, OverflowError, EOFError),
        *(NotImplementedError, RuntimeError),  # what zipfile says of encrypted files
    ) as error:
        raise StepError(f"{path} cannot be read as an .npz file: {error}") from None


def open_hdf5(path: Path, name: str, stack: ExitStack) -> Rows:
    """The rows of a dataset of an HDF5 file.

    Args:
        name: its path in the file, as in `group/images`.
        stack: closes the file.

    Raises:
        StepError: it is missing or damaged, or its values are in another place.
    """
    where = f"{path}:{name}"
    try:
        file = stack.enter_context(h5py.File(path))
        dataset = _follow(file, name, where)
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except (OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise StepError(f"{where} cannot be read: {reason}") from None
    chunk = dataset.chunks or (1,)
    if dataset.chunks and np.prod(chunk) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise StepError(f"{where} has chunks of shape {chunk}, larger than 256 MiB: store it again")
    if dataset.nbytes > MAX_GZIP_RATIO * dataset.id.get_storage_size():
        raise StepError(f"{where} announces {dataset.nbytes} bytes, more than the file holds")
    row_bytes = max(1, dataset.nbytes // max(1, len(dataset)))
    return ArrayRows(where, dataset, min(chunk[0], max(1, CHUNK_ROWS_BYTES // row_bytes)))


def _follow(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """Walk to a dataset along hard links alone: others lead out of the file."""
    found: Any = file
    for part in filter(None, name.split("/")):
        if not isinstance(found, h5py.Group) or part not in found:
            known = ", ".join(found) if isinstance(found, h5py.Group) else "no groups"
            raise StepError(f"{where} is not there: {part} was not found among {known}")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise StepError(f"{where} is reached by a link: name the dataset itself")
        found = found[part]
    if not isinstance(found, h5py.Dataset) or found.ndim == 0:
        raise StepError(f"{where} is no dataset with rows")
    if found.is_virtual or found.external:
        raise StepError(f"{where} has its values in another file: copy them into this one")
    return found
