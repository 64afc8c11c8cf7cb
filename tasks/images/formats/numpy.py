"""NumPy's files: `.npy` and `.npz` archives, read without unpacking them where that can be.

Nothing is mapped into memory: a file that is truncated meanwhile would end the process.
Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import math
import shutil
import tempfile
import tokenize
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import numpy as np

from tasks.core.errors import StepError
from tasks.images.arrays.stored import ArrayFile, StoredArray, describe_arrays
from tasks.images.arrays.views import ColumnRows
from tasks.images.formats.errors import MAX_DEFLATE_RATIO, read_errors_explained
from tasks.images.rows import Rows, StreamRows

NPY_DAMAGE = (
    *(ValueError, TypeError, OverflowError, EOFError),
    *(SyntaxError, tokenize.TokenError),  # a header is the text of a Python dictionary
)
NPZ_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, *NPY_DAMAGE),
    *(NotImplementedError, RuntimeError),  # what zipfile raises for encrypted archives
)
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
NPY_SUFFIX = ".npy"
MAX_MEMBERS = 10_000

Open = Callable[[], AbstractContextManager[BinaryIO]]


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    bytes: int
    """Of the header itself."""

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def open_npy(path: Path) -> Rows:
    """Open the rows of an `.npy` file."""
    return open_npy_array(path).rows()


def open_npy_array(path: Path) -> StoredArray:
    """Open the array of an `.npy` file."""
    with _open_npy(path) as file:
        header = _check_header(_read_header(file), str(path))
        size = path.stat().st_size - header.bytes
    if size < header.size:
        raise StepError(
            f"{path} is truncated: it holds {size} bytes of values, its header says {header.size}: "
            "replace it"
        )
    return _stored(str(path), header, partial(_open_npy, path, header.bytes), None)


def open_npz_file(path: Path) -> ArrayFile:
    """Read the names and shapes of an `.npz` archive."""
    with _open_zip(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(NPY_SUFFIX)]
        if len(members) > MAX_MEMBERS:
            raise StepError(f"{path} has {len(members)} arrays, expected at most {MAX_MEMBERS}")
        shapes = {}
        for member in members:
            with archive.open(member) as file:
                shapes[member.removesuffix(NPY_SUFFIX)] = _read_header(file).shape
    return ArrayFile(path, shapes, partial(open_npz_array, path))


def open_npz_array(path: Path, name: str) -> StoredArray:
    """Open an array of an `.npz` archive."""
    title = f"{path}[{name}]"
    with _open_zip(path) as archive:
        if f"{name}{NPY_SUFFIX}" not in archive.namelist():
            shapes = open_npz_file(path).shapes
            raise StepError(
                f"{path} has no array {name}, expected one of {describe_arrays(shapes)}"
            )
        member = archive.getinfo(f"{name}{NPY_SUFFIX}")
        with archive.open(member) as file:
            header = _check_header(_read_header(file), title)
    if header.size > MAX_DEFLATE_RATIO * member.compress_size:
        raise StepError(
            f"{title} announces {header.size} bytes, more than the file can hold: save it again"
        )
    values = partial(_open_member, path, member, header.bytes)
    return _stored(title, header, values, _Unpacked(title, values, header.size))


def _stored(title: str, header: _Header, values: Open, unpacked: "_Unpacked | None") -> StoredArray:
    shape = header.shape[::-1] if header.fortran_order else header.shape
    place = (unpacked.open, 0) if unpacked else (values, header.bytes)
    return StoredArray(
        name=title,
        stored_shape=shape,
        dtype=header.dtype,
        open_first=lambda: StreamRows(title, shape, header.dtype, values),
        open_last=lambda: ColumnRows(title, shape, header.dtype, *place),
        is_reversed=header.fortran_order,
    )


class _Unpacked:
    """The values of an array in a temporary file, as an archive can only be read in its order."""

    def __init__(self, title: str, open_values: Open, size: int) -> None:
        self._title, self._open_values, self._size = title, open_values, size
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, which is written at the first call and is deleted with this object."""
        if self._file is None:
            self._file = self._unpack()
            weakref.finalize(self, self._file.close)
        yield cast(BinaryIO, self._file)

    def _unpack(self) -> IO[bytes]:
        folder = tempfile.gettempdir()
        if self._size > shutil.disk_usage(folder).free:
            raise StepError(
                f"{self._title} has to be unpacked, and {folder} has no room for its {self._size} "
                "bytes: set TMPDIR to another folder, or save np.ascontiguousarray of it"
            )
        file = tempfile.TemporaryFile()  # noqa: SIM115 - it is read for as long as the array is
        with self._open_values() as values:
            shutil.copyfileobj(values, file, 2**20)
        file.flush()
        return file


def _read_header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise ValueError(f"version {version[0]}.{version[1]} of the .npy format")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the file is of Python 2
            shape, fortran_order, dtype = HEADER_READERS[version](file)
    except OSError:
        raise
    except Exception as error:  # the header is Python text, for whose parsers anything may be wrong
        raise ValueError(f"its header is damaged: {error}") from None
    if shape and min(shape) < 0:
        raise ValueError(f"its header says the shape {shape}")
    return _Header(shape, fortran_order and len(shape) > 1, dtype, file.tell())


def _check_header(header: _Header, title: str) -> _Header:
    if header.dtype.hasobject:
        raise StepError(
            f"{title} holds Python objects, which could run code when they are read: save numbers, "
            "or text as array.astype(str)"
        )
    if header.dtype.names:
        raise StepError(
            f"{title} holds records of {', '.join(header.dtype.names)}: save each as an array"
        )
    if not header.shape:
        raise StepError(f"{title} holds a single value, expected an array with rows")
    return header


@contextmanager
def _open_npy(path: Path, skip: int = 0) -> Iterator[BinaryIO]:
    with read_errors_explained(path, "an .npy file", *NPY_DAMAGE), path.open("rb") as file:
        file.seek(skip)
        yield file


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with (
        read_errors_explained(path, "an .npz file", *NPZ_DAMAGE),
        zipfile.ZipFile(path) as archive,
    ):
        yield archive


@contextmanager
def _open_member(path: Path, member: zipfile.ZipInfo, skip: int) -> Iterator[BinaryIO]:
    with _open_zip(path) as archive, archive.open(member) as file:
        file.read(skip)
        yield cast(BinaryIO, file)
