"""From rows of a memory-mapped image array to blocks that compiled code takes.

Every block of one kind has the same shape, so each function is compiled once and the bits of a row
never depend on how many rows share its block. What a short last block lacks is filled with zeros.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import tf
from tasks.images.rows import Images, evaluation_rows
from tasks.models.shuffling import ShuffledImages, take_rows

A = TypeVar("A")
B = TypeVar("B")

SEGMENT_BYTES = 16 * 2**20
"""Upper bound of one training segment's images; about a tenth of a second of work."""


class Block(NamedTuple):
    """Rows for one call of compiled code."""

    images: tf.Tensor
    """(capacity, pixels); rows from `rows` on are padding."""
    rows: int
    """How many leading rows are images."""


def blocks_in_order(images: Images) -> Iterator[Block]:
    """All images in their order, in blocks of evaluation."""
    return evaluation_blocks(images, np.arange(len(images)))


def evaluation_blocks(images: Images, rows: NDArray[np.int64]) -> Iterator[Block]:
    """The given rows in their order, in blocks of evaluation."""
    capacity = evaluation_rows(images[0].size)
    for start in range(0, len(rows), capacity):
        chosen = rows[start : start + capacity]
        block = np.zeros((capacity, *images.shape[1:]), images.dtype)
        take_rows(images, chosen, block)
        yield _as_block(block, len(chosen))


def _as_block(images: Images, rows: int) -> Block:
    return Block(tf.constant(images.reshape(len(images), -1)), rows)


class SegmentPlan(NamedTuple):
    """How an epoch is cut into segments of equal capacity."""

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
        steps = -(-len(images) // batch_size)
        largest = max(1, SEGMENT_BYTES // (batch_size * images[0].nbytes))
        segments = -(-steps // largest)
        return cls(batch_size, steps, -(-steps // segments))


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
    shuffled = ShuffledImages(images, seed)

    def gather(position: tuple[int, int]) -> Segment:
        return _gather_segment(shuffled, plan, *position)

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
    shuffled: ShuffledImages, plan: SegmentPlan, epoch: int, number: int
) -> Segment:
    first_step = number * plan.segment_steps
    capacity = plan.segment_steps * plan.batch_size
    block = np.zeros((capacity, *shuffled.image_shape), shuffled.dtype)
    rows = shuffled.take(epoch, first_step * plan.batch_size, block)
    return Segment(epoch, number, first_step, _as_block(block, rows))
