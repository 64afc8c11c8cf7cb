"""Arrays as files store them, with their images along the first or the last axis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.images.arrays.views import transpose_rows
from tasks.images.formats.errors import shown
from tasks.images.rows import Rows


class StoredArray(NamedTuple):
    """An array of a file."""

    name: str
    """For messages."""
    stored_shape: tuple[int, ...]
    """In the file, in C order."""
    dtype: np.dtype[Any]
    open_first: Callable[[], Rows]
    """Opens the rows along the first stored axis."""
    open_last: Callable[[], Rows]
    """Opens the rows along the last stored axis."""
    is_reversed: bool = False
    """Whether the array's own axes are those of the file in reverse: Fortran order."""
    is_matlab: bool = False
    """Whether MATLAB wrote it, where images are stacked along the last axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape for whoever saved the array."""
        return self.stored_shape[::-1] if self.is_reversed else self.stored_shape

    def rows(self, last: bool = False) -> Rows:
        """The rows along the first or the last axis; the other axes keep their order."""
        if last == self.is_reversed or len(self.shape) == 1:
            rows = self.open_first()
        else:
            rows = self.open_last()
        if self.is_reversed:
            return transpose_rows(rows, (0, *range(len(self.shape) - 1, 0, -1)))
        return rows


class ArrayFile(NamedTuple):
    """A file of one or more arrays."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    """By name; an `.npy` file has one array, whose name is empty."""
    open_array: Callable[[str], StoredArray]


def describe_shape(shape: tuple[int, ...]) -> str:
    """A shape as people write it: `600x28x28`."""
    return "x".join(map(str, shape))


def describe_arrays(shapes: dict[str, tuple[int, ...]], most: int = 20) -> str:
    """Names with shapes, for messages."""
    named = [f"{shown(name)} ({describe_shape(shape)})" for name, shape in shapes.items()]
    more = [f"{len(named) - most} more"] if len(named) > most else []
    return ", ".join(named[:most] + more) or "none"
