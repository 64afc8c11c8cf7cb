"""Images and labels that are read one block at a time, wherever and however they are stored."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split

Images = NDArray[Any]
"""(N, height, width[, 3]) uint8, uint16 or float32, usually memory-mapped."""
Index = NDArray[np.int64] | range
"""Row numbers, increasing; a range takes no memory."""
BLOCK_BYTES = 8 * 2**20
"""Upper bound of a block; a larger row is a block by itself."""
EVALUATION_BYTES = 8 * 2**20
"""Upper bound of an evaluation block as float32; a larger image is a block by itself."""
EVALUATION_ROWS = 2048
"""Most images of an evaluation block; enough for full speed."""


def evaluation_rows(pixels: int) -> int:
    """Images in a block of evaluation and encoding: a power of two that depends on `pixels` only.

    Args:
        pixels: values of one image.
    """
    fitting = max(1, EVALUATION_BYTES // (4 * pixels))
    return min(EVALUATION_ROWS, 1 << (fitting.bit_length() - 1))


def spaced_rows(rows: int, most: int) -> NDArray[np.int64]:
    """All row numbers, or `most` evenly spaced ones: the rows may be sorted by class."""
    count = min(rows, most)
    return np.arange(count) * rows // count


class Rows(ABC):
    """An array that can be read repeatedly, from start to end.

    Args:
        name: for messages.
        shape: (N, ...).
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def block_rows(self) -> int:
        """Rows in a block."""
        return max(1, BLOCK_BYTES // max(1, self.row_bytes))

    @abstractmethod
    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks of shape (rows, ...).

        Raises:
            StepError: they cannot be read.
        """

    def read(self) -> NDArray[Any]:
        """The whole array, in memory."""
        return np.concatenate(list(self.blocks()))

    def row_name(self, row: int) -> str:
        """The name of a row, for messages."""
        return f"row {row} of {self.name}"

    def select(self, wanted: NDArray[np.bool_]) -> "Rows":
        """The rows for which `wanted`, (N,), is true, in their order."""
        return _SelectedRows(self, wanted)


def counted_blocks(rows: Rows) -> Iterator[NDArray[Any]]:
    """The blocks of rows, which must be as many, and of the shape, that they say themselves.

    Raises:
        StepError: they are fewer, more or of another shape, or cannot be read.
    """
    found = 0
    for block in rows.blocks():
        found += len(block)
        if found > len(rows) or block.shape[1:] != rows.shape[1:]:
            raise _miscounted(rows, f"at least {found} rows of shape {block.shape[1:]}")
        yield block
    if found < len(rows):
        raise _miscounted(rows, f"{found} rows")


def _miscounted(rows: Rows, found: str) -> StepError:
    return StepError(
        f"{rows.name} gave {found}, expected {len(rows)} of shape {rows.shape[1:]}: does another "
        "program write to it?"
    )


class ArrayRows(Rows):
    """The rows of an array in memory or of a memory map."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        super().__init__(name, array.shape, array.dtype)
        self._array = array

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks."""
        for start in range(0, len(self), self.block_rows):
            yield np.asarray(self._array[start : start + self.block_rows])


class StreamRows(Rows):
    """The rows of a file that holds them one after the other and may be compressed.

    Args:
        open_values: opens the file, positioned at the first value.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        open_values: Callable[[], AbstractContextManager[BinaryIO]],
    ) -> None:
        super().__init__(name, shape, dtype)
        self._open_values = open_values

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks; the file must end with the last row."""
        with self._open_values() as file:
            for start in range(0, len(self), self.block_rows):
                rows = min(self.block_rows, len(self) - start)
                content = file.read(rows * self.row_bytes)
                if len(content) != rows * self.row_bytes:
                    raise StepError(
                        f"{self.name} is truncated: its header says "
                        f"{'x'.join(map(str, self.shape))} values: replace it"
                    )
                yield np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])
            if file.read(1):
                raise StepError(f"{self.name} holds more than its header says: replace it")


class ChainedRows(Rows):
    """The rows of several arrays with rows of one shape, one array after the other."""

    def __init__(self, parts: list[Rows]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if part.shape[1:] != first.shape[1:]:
                raise StepError(
                    f"{part.name} holds rows of shape {part.shape[1:]}, expected "
                    f"{first.shape[1:]} as in {first.name}"
                )
        name = " and ".join(part.name for part in parts)
        dtype = np.result_type(*(part.dtype for part in parts))
        super().__init__(name, (sum(map(len, parts)), *first.shape[1:]), dtype)
        self._parts = parts

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks of the dtype of their part."""
        for part in self._parts:
            yield from counted_blocks(part)

    def row_name(self, row: int) -> str:
        """The name of a row in its part."""
        for part in self._parts:
            if row < len(part):
                return part.row_name(row)
            row -= len(part)
        raise IndexError(row)


class _SelectedRows(Rows):
    def __init__(self, rows: Rows, wanted: NDArray[np.bool_]) -> None:
        super().__init__(rows.name, (int(wanted.sum()), *rows.shape[1:]), rows.dtype)
        self._rows, self._wanted = rows, wanted

    def blocks(self) -> Iterator[NDArray[Any]]:
        start = 0
        for block in counted_blocks(self._rows):
            chosen = block[self._wanted[start : start + len(block)]]
            start += len(block)
            if len(chosen):
                yield chosen

    def row_name(self, row: int) -> str:
        return self._rows.row_name(int(np.flatnonzero(self._wanted)[row]))


class RawSplit(NamedTuple):
    """Images, with their labels if the source has any."""

    images: Rows
    """(N, ...), of any type."""
    labels: Rows | None = None
    source_rows: NDArray[np.int64] | None = None
    """(N,) their rows in the source, increasing; None if these are all."""


class LeftOut(NamedTuple):
    """A kind of files or folders of a source that are not among its images."""

    reason: str
    """Why, as a title: `no pictures`."""
    what: str
    """The suffix of files, or a whole name."""
    class_name: str = ""
    """The class that they lie in; empty outside of all classes."""


LEFT_OUT_KINDS = 20
"""Kinds of files that a line on what was left out names, at most."""


def describe_left_out(left_out: Mapping[LeftOut, int]) -> str:
    """What was left out of a source, in one line: `no pictures: 3 .txt in boot, 1 .db`."""
    named: dict[str, list[str]] = {}
    for kind, count in list(left_out.items())[:LEFT_OUT_KINDS]:
        place = f" in {kind.class_name}" if kind.class_name else ""
        named.setdefault(kind.reason, []).append(f"{count} {kind.what}{place}")
    parts = [f"{reason}: {', '.join(kinds)}" for reason, kinds in named.items()]
    if len(left_out) > LEFT_OUT_KINDS:
        parts.append(f"and {sum(list(left_out.values())[LEFT_OUT_KINDS:])} others")
    return "; ".join(parts)


class RawDataset(NamedTuple):
    """The contents of a source."""

    train: RawSplit
    test: RawSplit | None = None
    """None if the source does not separate test images."""
    class_names: tuple[str, ...] = ()
    """By label; empty if the source does not name them."""
    left_out: Mapping[LeftOut, int] = MappingProxyType({})
    """How many files or folders of each kind lie in the source and are not used."""

    @property
    def splits(self) -> dict[Split, RawSplit]:
        """The training images, and the test images if they are separate."""
        splits: dict[Split, RawSplit] = {"train": self.train}
        if self.test:
            splits["test"] = self.test
        return splits
