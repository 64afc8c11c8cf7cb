"""Arrays that are read in order, block by block, whatever holds them.

Nothing here is read before it is asked for, and never more than a block at once.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError

Images = NDArray[Any]
"""(N, height, width[, 3]) uint8, uint16 or float32, as a rule memory-mapped."""
Index = NDArray[np.int64] | range
"""Row numbers, rising; a range takes no memory."""
BLOCK_BYTES = 8 * 2**20
"""Upper bound of a block, unless one row has more."""
EVALUATION_BYTES = 8 * 2**20
"""Upper bound of an evaluation block as float32, unless one image has more."""
EVALUATION_ROWS = 2048
"""Images of such a block, if they are small: large enough for full speed."""


def evaluation_rows(pixels: int) -> int:
    """Images of a block of evaluation and encoding: a power of two, a function of their size."""
    fitting = max(1, EVALUATION_BYTES // (4 * pixels))
    return min(EVALUATION_ROWS, 1 << (fitting.bit_length() - 1))


def spaced_rows(rows: int, most: int) -> NDArray[np.int64]:
    """All rows, or `most` of them at equal distances, rising: the classes may stand in order."""
    count = min(rows, most)
    return np.arange(count) * rows // count


class Rows(ABC):
    """An array of `shape` (N, ...) and `dtype` that can be read from its start, again and again."""

    def __init__(self, where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Read nothing yet.

        Args:
            where: what people call it in messages.
        """
        self.where, self.shape, self.dtype = where, shape, dtype

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        return max(1, BLOCK_BYTES // max(1, row_bytes))

    @abstractmethod
    def blocks(self) -> Iterator[NDArray[Any]]:
        """Consecutive rows, all of them.

        Raises:
            StepError: they cannot be read.
        """

    def row_name(self, row: int) -> str:
        """What people call a row."""
        return f"row {row} of {self.where}"

    def select(self, wanted: NDArray[np.bool_]) -> "Rows":
        """Those rows for which `wanted`, (N,), is true, in their order."""
        return _SelectedRows(self, wanted)


class ArrayRows(Rows):
    """The rows of an array in memory, a memory map or an HDF5 dataset."""

    def __init__(self, where: str, array: Any, multiple: int = 1) -> None:
        """Read nothing yet.

        Args:
            multiple: rows that are read together, as the chunks of an HDF5 dataset are.
        """
        super().__init__(where, array.shape, array.dtype)
        self._array, self._multiple = array, multiple

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Consecutive rows, all of them."""
        step = max(1, self.block_rows // self._multiple) * self._multiple
        for start in range(0, len(self), step):
            try:
                yield np.asarray(self._array[start : start + step])
            except OSError as error:
                raise StepError(f"{self.where} cannot be read: {_one_line(error)}") from None


class StreamRows(Rows):
    """Rows that stand one after the other in a file, which may be compressed."""

    def __init__(
        self,
        where: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        open_values: Callable[[], AbstractContextManager[BinaryIO]],
    ) -> None:
        """Read nothing yet.

        Args:
            open_values: gives the file, positioned at the first value.
        """
        super().__init__(where, shape, dtype)
        self._open_values = open_values

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Consecutive rows; the file must end with the last one."""
        left = len(self)
        with self._open_values() as file:
            while left:
                shape = (min(left, self.block_rows), *self.shape[1:])
                yield np.frombuffer(self._read(file, shape), self.dtype).reshape(shape)
                left -= shape[0]
            if file.read(1):
                raise StepError(f"{self.where} holds more than its header says: fetch it again")

    def _read(self, file: BinaryIO, shape: tuple[int, ...]) -> bytes:
        size = math.prod(shape) * self.dtype.itemsize
        content = file.read(size)
        if len(content) != size:
            raise StepError(
                f"{self.where} is truncated: its header says {'x'.join(map(str, self.shape))} "
                "values: fetch it again"
            )
        return content


class ChainedRows(Rows):
    """The rows of several arrays, one after the other."""

    def __init__(self, parts: list[Rows]) -> None:
        """Read nothing yet.

        Raises:
            StepError: their rows differ in shape.
        """
        first = parts[0]
        for part in parts[1:]:
            if part.shape[1:] != first.shape[1:]:
                raise StepError(
                    f"{part.where} holds rows of shape {part.shape[1:]}, expected "
                    f"{first.shape[1:]} as in {first.where}"
                )
        where = " and ".join(part.where for part in parts)
        dtype = np.result_type(*(part.dtype for part in parts))
        super().__init__(where, (sum(map(len, parts)), *first.shape[1:]), dtype)
        self._parts = parts

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Consecutive rows, all of them."""
        for part in self._parts:
            yield from part.blocks()

    def row_name(self, row: int) -> str:
        """What its part calls the row."""
        for part in self._parts:
            if row < len(part):
                return part.row_name(row)
            row -= len(part)
        raise IndexError(row)


class _SelectedRows(Rows):
    def __init__(self, rows: Rows, wanted: NDArray[np.bool_]) -> None:
        super().__init__(rows.where, (int(wanted.sum()), *rows.shape[1:]), rows.dtype)
        self._rows, self._wanted = rows, wanted

    def blocks(self) -> Iterator[NDArray[Any]]:
        start = 0
        for block in self._rows.blocks():
            chosen = block[self._wanted[start : start + len(block)]]
            start += len(block)
            if len(chosen):
                yield chosen

    def row_name(self, row: int) -> str:
        return self._rows.row_name(int(np.flatnonzero(self._wanted)[row]))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
