"""HDF5 files, MATLAB's of version 7.3 among them: a dataset by its path, read chunk by chunk."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError, TransientError
from tasks.images.arrays.stored import ArrayFile, StoredArray
from tasks.images.formats.errors import MAX_DEFLATE_RATIO, read_errors_explained, shown
from tasks.images.rows import Rows

MAX_CHUNK_BYTES = 256 * 2**20
"""Largest chunk; one is in memory at a time."""
CHUNK_ROWS_BYTES = 64 * 2**20
"""Upper bound of the rows of one chunk, which are read together; if a chunk holds parts of more
rows, it is decompressed several times."""
MAX_DATASETS = 10_000
DAMAGE = (RuntimeError, KeyError, ValueError, TypeError, OverflowError)
TEXT_SECONDS, TEXT_ROWS_PER_SECOND = 8, 100_000
"""How long reading text of variable length may take."""
READ_TEXT = """
import h5py, sys
texts = h5py.File(sys.argv[1], "r")[sys.argv[2]].asstr()
for start in range(0, len(texts), 2**16):
    texts[start : start + 2**16]
"""
MATLAB_CLASS = "MATLAB_class"
"""The attribute of all variables of a MATLAB file; HDF5 has their axes in reverse."""
FILTERS = {
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}
"""Names of usual filters. Source: https://github.com/HDFGroup/hdf5_plugins"""


class Hdf5Rows(Rows):
    """The rows of a dataset in an HDF5 file.

    Args:
        dataset: its path in the file, such as `group/images`.
        last: whether its rows are along its last axis, not its first.
    """

    def __init__(self, path: Path, dataset: str, last: bool = False) -> None:
        self._path, self._dataset, self._last = path, dataset, last
        with _open(path, dataset) as values:
            shape = values.shape
            super().__init__(
                f"{path}:{dataset}", (shape[-1], *shape[:-1]) if last else shape, values.dtype
            )
            self._check_sizes(values)
            chunks = values.chunks or (1,)
            self._chunk_rows = chunks[-1] if last else chunks[0]

    @property
    def block_rows(self) -> int:
        """Rows in a block: whole chunks, if their rows take not too much memory."""
        together = min(self._chunk_rows, max(1, CHUNK_ROWS_BYTES // max(1, self.row_bytes)))
        return max(1, super().block_rows // together) * together

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks; text as `str`."""
        with _open(self._path, self._dataset) as dataset:
            if dataset.shape != ((*self.shape[1:], len(self)) if self._last else self.shape):
                raise TransientError(f"{self.name} changed while it was read")
            values = dataset.asstr() if h5py.check_string_dtype(dataset.dtype) else dataset
            for start in range(0, len(self), self.block_rows):
                span = slice(start, start + self.block_rows)
                yield np.moveaxis(values[..., span], -1, 0) if self._last else values[span]

    def _check_sizes(self, dataset: h5py.Dataset) -> None:
        chunk = dataset.chunks or (0,)
        if np.prod(chunk) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
            raise StepError(
                f"{self.name} has chunks of shape {chunk}, expected at most "
                f"{MAX_CHUNK_BYTES / 2**20:.0f} MiB each: store it again"
            )
        size = len(self) * self.row_bytes
        if size > MAX_DEFLATE_RATIO * dataset.id.get_storage_size():
            raise StepError(
                f"{self.name} announces {size} bytes, more than the file holds: store it again"
            )


def open_hdf5_file(path: Path) -> ArrayFile:
    """Read the paths and shapes of the datasets of a file; those behind links are left out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, node: Any) -> bool | None:
        if isinstance(node, h5py.Dataset) and node.shape and not name.startswith("#"):
            shapes[name] = node.shape  # names with # hold what MATLAB's own variables refer to
            if _matlab_class(node) is not None:
                shapes[name] = node.shape[::-1]
        return True if len(shapes) == MAX_DATASETS else None

    with _open_file(path) as file:
        file.visititems(add)
    return ArrayFile(path, shapes, partial(open_hdf5_array, path))


def open_hdf5_array(path: Path, name: str) -> StoredArray:
    """Open a dataset; the axes of MATLAB's are those of MATLAB."""
    with _open(path, name) as dataset:
        is_matlab = _matlab_class(dataset) is not None
        _check_type(dataset, f"{path}:{name}")
        _check_filters(dataset, f"{path}:{name}")
        return StoredArray(
            name=f"{path}:{name}",
            stored_shape=dataset.shape,
            dtype=dataset.dtype,
            open_first=partial(Hdf5Rows, path, name),
            open_last=partial(Hdf5Rows, path, name, last=True),
            is_reversed=is_matlab,
            is_matlab=is_matlab,
        )


def _check_type(dataset: h5py.Dataset, name: str) -> None:
    matlab_class = _matlab_class(dataset)
    if matlab_class in ("cell", "char", "struct"):
        raise StepError(
            f"{name} is of MATLAB's class {matlab_class}, expected a numeric array: save it as one"
        )
    if fields := dataset.dtype.names:
        raise StepError(
            f"{name} holds compound values of {', '.join(fields)}: store each as a dataset of its "
            "own"
        )
    text = h5py.check_string_dtype(dataset.dtype)
    if dataset.dtype.kind in "OV" and not text:
        raise StepError(f"{name} holds {dataset.dtype}, expected numbers or text: store it so")
    if text and text.length is None:
        _check_text(dataset, name)


def _check_text(dataset: h5py.Dataset, name: str) -> None:
    """Read text of variable length in another process: HDF5 may search damaged text for ever.

    Raises:
        TransientError: it takes too long; maybe the machine is busy.
    """
    seconds = TEXT_SECONDS + len(dataset) / TEXT_ROWS_PER_SECOND
    command = [sys.executable, "-I", "-c", READ_TEXT, dataset.file.filename, dataset.name]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise TransientError(
            f"{name} is text that could not be read within {seconds:.0f} s: it is damaged: replace "
            "it"
        ) from None
    except subprocess.CalledProcessError:
        raise StepError(f"{name} is text that cannot be read: it is damaged: replace it") from None


def _matlab_class(dataset: h5py.Dataset) -> str | None:
    """The class of a variable of MATLAB, of which only text of fixed length is read."""
    if MATLAB_CLASS not in dataset.attrs:
        return None
    is_fixed = dataset.attrs.get_id(MATLAB_CLASS).dtype.kind == "S"
    return dataset.attrs[MATLAB_CLASS].decode(errors="replace") if is_fixed else ""


def _check_filters(dataset: h5py.Dataset, name: str) -> None:
    """Refuse values that were filtered with a plug-in that is not here."""
    plist = dataset.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        number, _, _, stored_name = plist.get_filter(index)
        if not h5py.h5z.filter_avail(number):
            known = FILTERS.get(number) or stored_name.decode(errors="replace") or "unknown"
            raise StepError(
                f"{name} is compressed with filter {number} ({known}), which is not installed: set "
                "HDF5_PLUGIN_PATH to the folder of its plug-in, or store the dataset with gzip"
            )


@contextmanager
def _open_file(path: Path) -> Iterator[h5py.File]:
    with read_errors_explained(path, "an HDF5 file", *DAMAGE):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise _explain(path, error) from None
        with file:
            yield file


def _explain(path: Path, error: OSError) -> OSError:
    """HDF5's error without its own error number and flags, or our own where it is about locks."""
    if "unable to lock file" in str(error):
        raise TransientError(
            f"{path} is open in a program that writes it, or its file system has no locks: close "
            "it there, or set HDF5_USE_FILE_LOCKING=FALSE"
        )
    if "already open for write" in str(error):
        raise TransientError(
            f"{path} is open in a program that writes it, or was when that program was killed: "
            f"close it there, or run h5clear -s {path}"
        )
    reason = re.search(r"\((.*)\)", str(error), re.DOTALL)
    return error if error.errno or not reason else OSError(reason[1])


@contextmanager
def _open(path: Path, dataset: str) -> Iterator[h5py.Dataset]:
    with _open_file(path) as file:
        yield _find(file, dataset, f"{path}:{dataset}")


def _find(file: h5py.File, path: str, name: str) -> h5py.Dataset:
    """Follow hard links only: soft and external links can lead out of the file."""
    node: Any = file
    for part in filter(None, path.split("/")):
        if not isinstance(node, h5py.Group) or part not in node:
            names = ", ".join(map(shown, node)) if isinstance(node, h5py.Group) else "no groups"
            raise StepError(f"{name} does not exist: {part} is not among {names}")
        if not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise StepError(f"{name} is reached by a link: name the dataset itself")
        node = node[part]
    if not isinstance(node, h5py.Dataset) or not node.shape:
        raise StepError(f"{name} is not a dataset with rows")
    if node.is_virtual or node.external:
        raise StepError(f"{name} has its values in another file: copy them into this one")
    return node
