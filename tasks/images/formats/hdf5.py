"""HDF5 files: a dataset by its path, read chunk by chunk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images.formats.errors import MAX_DEFLATE_RATIO, read_errors_explained
from tasks.images.rows import Rows

MAX_CHUNK_BYTES = 256 * 2**20
"""Largest chunk; one is in memory at a time."""
CHUNK_ROWS_BYTES = 64 * 2**20
"""Upper bound of the rows of one chunk, which are read together; if a chunk holds parts of more
rows, it is decompressed several times."""


class Hdf5Rows(Rows):
    """The rows of a dataset in an HDF5 file.

    Args:
        dataset: its path in the file, such as `group/images`.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        self._path, self._dataset = path, dataset
        with self._open() as values:
            super().__init__(f"{path}:{dataset}", values.shape, values.dtype)
            self._check_sizes(values)
            self._chunk_rows = values.chunks[0] if values.chunks else 1

    @property
    def block_rows(self) -> int:
        """Rows in a block: whole chunks, if their rows take not too much memory."""
        together = min(self._chunk_rows, max(1, CHUNK_ROWS_BYTES // max(1, self.row_bytes)))
        return max(1, super().block_rows // together) * together

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks."""
        with self._open() as dataset:
            for start in range(0, len(self), self.block_rows):
                yield dataset[start : start + self.block_rows]

    @contextmanager
    def _open(self) -> Iterator[h5py.Dataset]:
        with (
            read_errors_explained(self._path, "an HDF5 file", RuntimeError, KeyError),
            h5py.File(self._path) as file,
        ):
            yield _find(file, self._dataset, f"{self._path}:{self._dataset}")

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


def _find(file: h5py.File, path: str, name: str) -> h5py.Dataset:
    """Follow hard links only: soft and external links can lead out of the file."""
    node: Any = file
    for part in filter(None, path.split("/")):
        if not isinstance(node, h5py.Group) or part not in node:
            names = ", ".join(node) if isinstance(node, h5py.Group) else "no groups"
            raise StepError(f"{name} does not exist: {part} is not among {names}")
        if not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise StepError(f"{name} is reached by a link: name the dataset itself")
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.ndim == 0:
        raise StepError(f"{name} is not a dataset with rows")
    if node.is_virtual or node.external:
        raise StepError(f"{name} has its values in another file: copy them into this one")
    return node
