"""From rows of a memory-mapped image array to blocks that compiled code takes.

Every block of one kind has the same shape, so each function is compiled once and the bits of a row
never depend on how many rows share its block. What a short last block lacks is filled with zeros.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.rows import evaluation_rows

A = TypeVar("A")
B = TypeVar("B")
Images = NDArray[Any]
"""(N, height, width[, 3]) uint8, uint16 or float32, as a rule memory-mapped."""

SEGMENT_BYTES = 16 * 2**20
"""Upper bound of one training segment's images; about a tenth of a second of work."""
SHUFFLE_BYTES = 128 * 2**20
"""Images that are shuffled with each other; of a larger set, runs are shuffled first."""
RUN_BYTES = 2**20
"""Images that stay in one stretch of the memory map, which need not fit into memory."""


class Block(NamedTuple):
    """Rows for one call of compiled code."""

    images: tf.Tensor
    """(capacity, pixels); rows from `rows` on are padding."""
    rows: int
    """How many leading rows are images."""


def gather_block(images: Images, rows: NDArray[np.int64], capacity: int) -> Block:
    """Copy the given rows into a block of `capacity` rows."""
    block = np.zeros((capacity, *images.shape[1:]), images.dtype)
    # mode="clip" lets NumPy write straight into `out`; all rows are in range.
    np.take(images, rows, axis=0, out=block[: len(rows)], mode="clip")
    return Block(tf.constant(block.reshape(capacity, -1)), len(rows))


def blocks_in_order(images: Images) -> Iterator[Block]:
    """All images in their order, in blocks of evaluation."""
    return evaluation_blocks(images, np.arange(len(images)))


def evaluation_blocks(images: Images, rows: NDArray[np.int64]) -> Iterator[Block]:
    """The given rows in their order, in blocks of evaluation."""
    capacity = evaluation_rows(images[0].size)
    for start in range(0, len(rows), capacity):
        yield gather_block(images, rows[start : start + capacity], capacity)


@lru_cache(maxsize=1)  # the segments of an epoch are gathered one after the other
def shuffled_rows(rows: int, row_bytes: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch, (rows,) int64, a function of its arguments alone; read-only.

    Up to `SHUFFLE_BYTES` every order is equally likely. Beyond, runs of neighbours are shuffled,
    then the rows within windows of many runs: reading rows one by one from a disk would take longer
    than training on them.
    """
    generator = np.random.default_rng([seed, epoch])
    window = max(1, SHUFFLE_BYTES // row_bytes)
    if rows <= window:
        return generator.permutation(rows)
    run = max(1, RUN_BYTES // row_bytes)
    firsts = generator.permutation(-(-rows // run)) * run
    order = (firsts[:, np.newaxis] + np.arange(run)).reshape(-1)
    order = order[order < rows]  # the last run may be shorter
    for start in range(0, rows, window):
        generator.shuffle(order[start : start + window])
    return order


class SegmentPlan(NamedTuple):
    """How an epoch is cut into segments of equal capacity."""

    rows: int
    row_bytes: int
    batch_size: int
    steps: int
    """Optimizer steps of an epoch; the last one may take fewer than `batch_size` rows."""
    segment_steps: int
    """Steps of a segment; the last one may have fewer."""

    @property
    def segments(self) -> int:
        """Segments of an epoch."""
        return -(-self.steps // self.segment_steps)

    @classmethod
    def of(cls, images: Images, batch_size: int) -> "SegmentPlan":
        """Cut into the fewest segments within `SEGMENT_BYTES`, as equal as can be."""
        rows = len(images)
        steps = -(-rows // batch_size)
        largest = max(1, SEGMENT_BYTES // (batch_size * images[0].nbytes))
        segments = -(-steps // largest)
        return cls(rows, images[0].nbytes, batch_size, steps, -(-steps // segments))


class Segment(NamedTuple):
    """Consecutive steps of one epoch with their images."""

    epoch: int
    number: int
    """Counted from the start of the epoch."""
    first_step: int
    """Counted from the start of the epoch."""
    block: Block


def shuffled_segments(
    images: Images, plan: SegmentPlan, seed: int, epochs: int, start: tuple[int, int] = (0, 0)
) -> Iterator[Segment]:
    """Segments from the position (epoch, segment) `start` to the end of the last epoch.

    The next segment is gathered in a thread while the caller works on the present one.
    """

    def gather(position: tuple[int, int]) -> Segment:
        return _gather_segment(images, plan, seed, *position)

    yield from map_ahead(gather, _positions(plan, epochs, start), threads=1)


def map_ahead(function: Callable[[A], B], arguments: Iterable[A], threads: int) -> Iterator[B]:
    """Apply a function in threads, in order, not many more than `threads` results ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as executor:
        waiting: deque[Future[B]] = deque()
        for argument in arguments:
            waiting.append(executor.submit(function, argument))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _positions(plan: SegmentPlan, epochs: int, start: tuple[int, int]) -> Iterator[tuple[int, int]]:
    for epoch in range(start[0], epochs):
        for index in range(start[1] if epoch == start[0] else 0, plan.segments):
            yield epoch, index


def _gather_segment(
    images: Images, plan: SegmentPlan, seed: int, epoch: int, index: int
) -> Segment:
    first_step = index * plan.segment_steps
    capacity = plan.segment_steps * plan.batch_size
    first_row = first_step * plan.batch_size
    order = shuffled_rows(plan.rows, plan.row_bytes, seed, epoch)
    chosen = order[first_row : first_row + capacity]
    return Segment(epoch, index, first_step, gather_block(images, chosen, capacity))
