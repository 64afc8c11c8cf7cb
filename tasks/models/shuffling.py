"""Rows in the order of an epoch, which is a function of the seed and the epoch alone.

A dataset may be larger than memory. If its rows were shuffled one by one, each page of the file
would be read many times. Beyond `SHUFFLE_BYTES`, runs of consecutive rows are shuffled, then the
images within windows of many runs; each window is read once, run by run.
"""

from io import FileIO
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError

Array = NDArray[Any]

SHUFFLE_BYTES = 128 * 2**20
"""Bytes of the images that are shuffled with each other: a window, or the whole dataset."""
RUN_BYTES = 2**20
"""Bytes of consecutive images that are read at once."""


def window_rows(row_bytes: int) -> int:
    """Images of a window; an image has `row_bytes`."""
    return max(1, SHUFFLE_BYTES // row_bytes)


def shuffled_rows(rows: int, row_bytes: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch, (rows,) int64; up to `SHUFFLE_BYTES`, all are equally likely."""
    generator = np.random.default_rng([seed, epoch])
    window = window_rows(row_bytes)
    if rows <= window:
        return generator.permutation(rows)
    run = max(1, RUN_BYTES // row_bytes)
    firsts = generator.permutation(-(-rows // run)) * run
    order = (firsts[:, np.newaxis] + np.arange(run)).reshape(-1)
    order = order[order < rows]  # the last run may be shorter
    for start in range(0, rows, window):
        generator.shuffle(order[start : start + window])
    return order


class ShuffledRows:
    """Images, or what belongs to them, in the order of each epoch; one window is in memory."""

    def __init__(self, rows: Array, seed: int, image_bytes: int | None = None) -> None:
        """Read nothing yet.

        Args:
            rows: (N, ...), usually memory-mapped.
            image_bytes: of the images, if the rows are something else that is taken in their order.
        """
        self._rows, self._seed = rows, seed
        self._image_bytes = rows[0].nbytes if image_bytes is None else image_bytes
        self.row_shape, self.dtype = rows.shape[1:], rows.dtype
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        self._window_rows = window_rows(self._image_bytes)
        held = self._window_rows if len(rows) > self._window_rows else 0
        self._window, self._held_rows = -1, np.zeros(0, np.int64)
        self._held = np.empty((held, *self.row_shape), self.dtype)

    def take(self, epoch: int, first: int, out: Array) -> int:
        """Copy the rows from position `first` of an epoch on, as many as fit and are left.

        Args:
            out: (capacity, ...), of the type of the rows.

        Returns:
            How many were copied to the start of `out`.
        """
        self._enter(epoch)
        chosen = self._order[first : first + len(out)]
        if not len(self._held):
            take_rows(self._rows, chosen, out)
            return len(chosen)
        taken = 0
        while taken < len(chosen):
            window, before = divmod(first + taken, self._window_rows)
            part = chosen[taken : taken + self._window_rows - before]
            self._hold(window)
            take_rows(self._held, np.searchsorted(self._held_rows, part), out[taken:])
            taken += len(part)
        return taken

    def _enter(self, epoch: int) -> None:
        if self._epoch != epoch:
            self._order = shuffled_rows(len(self._rows), self._image_bytes, self._seed, epoch)
            self._epoch, self._window = epoch, -1

    def _hold(self, window: int) -> None:
        """Read a window into memory, unless it is there."""
        if self._window != window:
            first = window * self._window_rows
            self._held_rows = np.sort(self._order[first : first + self._window_rows])
            _read_rows(self._rows, self._held_rows, self._held)
            self._window = window


def _read_rows(array: Array, rows: NDArray[np.int64], out: Array) -> None:
    """Copy rows in rising order to the start of `out`, run by run.

    A memory-mapped file is read as a file: a page fault may read megabytes beyond the run.

    Raises:
        StepError: the file has become shorter.
    """
    base: object = array.base
    if not (isinstance(array, np.memmap) and isinstance(base, mmap) and array.filename):
        take_rows(array, rows, out)
        return
    borders = np.flatnonzero(np.diff(rows) != 1) + 1
    runs, targets = (np.split(whole, borders) for whole in (rows, out[: len(rows)]))
    with FileIO(array.filename) as file:
        for run, target in zip(runs, targets, strict=True):
            file.seek(array.offset + int(run[0]) * array[0].nbytes)
            if file.readinto(target.data) != target.nbytes:
                raise StepError(f"{array.filename} has become shorter while it was read")


def take_rows(array: Array, rows: NDArray[np.int64], out: Array) -> None:
    """Copy rows of `array` to the start of `out`."""
    # mode="clip" lets NumPy write straight into `out`; all rows are in range.
    np.take(array, rows, axis=0, out=out[: len(rows)], mode="clip")
