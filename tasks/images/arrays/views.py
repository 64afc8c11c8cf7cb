"""Rows that are made from other rows or from columns of a file, one block at a time."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images.rows import Rows

COLUMN_BYTES = 64 * 2**20
"""Upper bound of a block of columns: the longer their pieces, the fewer have to be read."""

Convert = Callable[[NDArray[Any], int], NDArray[Any]]
"""Converts a block, given the number of its first row."""


class ConvertedRows(Rows):
    """Rows of another shape or type, made from each block when it is read.

    Args:
        shape: of a row.
    """

    def __init__(self, rows: Rows, shape: tuple[int, ...], dtype: Any, convert: Convert) -> None:
        super().__init__(rows.name, (len(rows), *shape), np.dtype(dtype))
        self._rows, self._convert = rows, convert

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in the blocks of those that they are made from."""
        start = 0
        for block in self._rows.blocks():
            yield self._convert(block, start)
            start += len(block)

    def row_name(self, row: int) -> str:
        """The name of the row that it is made from."""
        return self._rows.row_name(row)


def transpose_rows(rows: Rows, axes: tuple[int, ...]) -> Rows:
    """Rows whose axes have another order; `axes` as in `np.transpose`, 0 first."""
    if axes == tuple(range(len(axes))):
        return rows
    shape = tuple(rows.shape[axis] for axis in axes[1:])
    return ConvertedRows(rows, shape, rows.dtype, lambda block, _: block.transpose(axes))


def reshape_rows(rows: Rows, shape: tuple[int, ...]) -> Rows:
    """Rows of another shape, with the same values in the same order."""
    if rows.shape[1:] == shape:
        return rows
    return ConvertedRows(rows, shape, rows.dtype, lambda block, _: block.reshape(-1, *shape))


class ColumnRows(Rows):
    """The rows of a file that holds them side by side: an array in C order whose last axis is N.

    Args:
        stored: the shape in the file, (..., N).
        open_file: opens the file.
        offset: of the first value, in bytes.
    """

    def __init__(
        self,
        name: str,
        stored: tuple[int, ...],
        dtype: np.dtype[Any],
        open_file: Callable[[], AbstractContextManager[BinaryIO]],
        offset: int,
    ) -> None:
        super().__init__(name, (stored[-1], *stored[:-1]), dtype)
        self._open_file, self._offset = open_file, offset

    @property
    def block_rows(self) -> int:
        """Rows in a block."""
        return max(1, COLUMN_BYTES // max(1, self.row_bytes))

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks: of each, one piece for each value of a row."""
        values = math.prod(self.shape[1:])
        with self._open_file() as file:
            for start in range(0, len(self), self.block_rows):
                count = min(self.block_rows, len(self) - start)
                block = np.empty((values, count), self.dtype)
                if count == len(self):
                    self._read(file, block, 0)
                else:
                    for column, piece in enumerate(block):
                        self._read(file, piece, column * len(self) + start)
                yield np.moveaxis(block.reshape(*self.shape[1:], count), -1, 0)

    def _read(self, file: BinaryIO, target: NDArray[Any], position: int) -> None:
        place = self._offset + position * self.dtype.itemsize
        wanted = target.data.cast("B") if target.size else memoryview(b"")
        while wanted:
            count = os.preadv(file.fileno(), [wanted], place)
            if not count:
                raise StepError(f"{self.name} is truncated: replace it")
            wanted, place = wanted[count:], place + count
