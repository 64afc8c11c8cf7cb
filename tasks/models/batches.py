"""From rows of a memory-mapped image array to blocks for compiled functions.

All blocks of one kind have the same shape, so each function is compiled once and the bits of a row
do not depend on how many rows share its block. A short last block is padded with zeros.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import tf
from tasks.images.rows import Images, evaluation_rows
from tasks.models.shuffling import ShuffledRows, take_rows

A = TypeVar("A")
B = TypeVar("B")
Codes = NDArray[np.float32]

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))
"""Pixels down and to the right, by which training images may be moved."""
MOVES_STREAM = 1
"""Distinguishes the random numbers of the moves from those of the order of an epoch."""
NO_CODE = -1.0
"""In the anchor's codes: of an image that was changed, which nothing pulls anywhere."""

SEGMENT_BYTES = 16 * 2**20
"""Upper bound of one training segment's images."""


class Block(NamedTuple):
    """Images for one call of a compiled function."""

    images: tf.Tensor
    """(capacity, pixels), padding included."""
    rows: int
    """How many of the first rows are images."""


def blocks_in_order(images: Images) -> Iterator[Block]:
    """All images in their order, in evaluation blocks."""
    return evaluation_blocks(images, np.arange(len(images)))


def evaluation_blocks(images: Images, rows: NDArray[np.int64]) -> Iterator[Block]:
    """The given rows, (M,) int64, in their order, in evaluation blocks."""
    capacity = evaluation_rows(images[0].size)
    for start in range(0, len(rows), capacity):
        chosen = rows[start : start + capacity]
        block = np.zeros((capacity, *images.shape[1:]), images.dtype)
        take_rows(images, chosen, block)
        yield _as_block(block, len(chosen))


def _as_block(images: Images, rows: int) -> Block:
    return Block(tf.constant(images.reshape(len(images), -1)), rows)


class SegmentPlan(NamedTuple):
    """How an epoch is divided into segments of equal capacity."""

    batch_size: int
    steps: int
    """Optimizer steps of an epoch; the last one may have fewer than `batch_size` images."""
    segment_steps: int
    """Optimizer steps of a segment; the last segment may have fewer."""

    @property
    def segments(self) -> int:
        """Segments of an epoch."""
        return -(-self.steps // self.segment_steps)

    @classmethod
    def of(cls, images: Images, batch_size: int) -> "SegmentPlan":
        """Divide into as few segments of at most `SEGMENT_BYTES` as possible.

        A batch has no more rows than there are images: room for others would never be used.
        """
        batch_size = min(batch_size, len(images))
        steps = -(-len(images) // batch_size)
        largest = max(1, SEGMENT_BYTES // (batch_size * images[0].nbytes))
        segments = -(-steps // largest)
        return cls(batch_size, steps, -(-steps // segments))


class Segment(NamedTuple):
    """Consecutive optimizer steps of one epoch with their images."""

    epoch: int
    first_step: int
    """From 0 at the start of the epoch."""
    steps: int
    block: Block
    anchor_codes: tf.Tensor | None
    """(capacity, code_size) float32, padding included: the anchor's codes of the images, or
    `NO_CODE`."""


def shuffled_segments(
    images: Images,
    plan: SegmentPlan,
    seed: int,
    epochs: int,
    start: tuple[int, int] = (0, 0),
    shifted: float = 0.0,
    anchor_codes: Codes | None = None,
) -> Iterator[Segment]:
    """Segments from the one with step `start`, (epoch, step), to the end of the last epoch.

    A thread gathers the next segment while the caller trains on the present one.

    Args:
        shifted: the share of the images that are moved by one pixel, see `shift_images`.
        anchor_codes: (N, code_size), the anchor's codes of the images, if there is an anchor.
    """
    shuffled = ShuffledRows(images, seed)
    codes = None
    if anchor_codes is not None:
        codes = ShuffledRows(anchor_codes, seed, image_bytes=images[0].nbytes)

    def gather(position: tuple[int, int]) -> Segment:
        epoch, first_step = position
        steps = min(plan.segment_steps, plan.steps - first_step)
        first = first_step * plan.batch_size
        block, rows = _take(shuffled, epoch, first, plan)
        gathered = None if codes is None else _take(codes, epoch, first, plan)[0]
        if shifted:
            moves = choose_moves(len(images), shifted, seed, epoch)[first : first + rows]
            shift_images(block[:rows], moves)
            if gathered is not None:
                gathered[:rows][moves >= 0] = NO_CODE
        anchored = None if gathered is None else tf.constant(gathered)
        return Segment(epoch, first_step, steps, _as_block(block, rows), anchored)

    yield from map_ahead(gather, _positions(start, epochs, plan), threads=1)


def _positions(start: tuple[int, int], epochs: int, plan: SegmentPlan) -> Iterator[tuple[int, int]]:
    """Epoch and first step of each segment, from the one with step `start` on."""
    for epoch in range(start[0], epochs):
        first = start[1] // plan.segment_steps * plan.segment_steps if epoch == start[0] else 0
        for step in range(first, plan.steps, plan.segment_steps):
            yield epoch, step


def choose_moves(rows: int, share: float, seed: int, epoch: int) -> NDArray[np.int8]:
    """The move of the image at each position of an epoch, (rows,): an index of `MOVES`, or -1.

    A function of the arguments alone: where a training is cut or resumed changes nothing.

    Args:
        share: the share of the images that are moved, 0 to 1.
    """
    generator = np.random.default_rng([seed, epoch, MOVES_STREAM])
    moves = generator.integers(0, len(MOVES), rows, np.int8)
    moves[generator.random(rows) >= share] = -1
    return moves


def shift_images(images: Images, moves: NDArray[np.int8]) -> None:
    """Move each of `images`, (N, height, width[, 3]), in place by its move, (N,).

    The edge pixels are repeated, so nothing dark enters an image that fills its frame.
    """
    for index, (down, right) in enumerate(MOVES):
        chosen = np.flatnonzero(moves == index)
        images[chosen] = _shifted(images[chosen], down, right)


def _shifted(images: Images, down: int, right: int) -> Images:
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return images[:, rows][:, :, columns]


def _take(
    shuffled: ShuffledRows, epoch: int, first: int, plan: SegmentPlan
) -> tuple[NDArray[Any], int]:
    """The rows of a segment, padded with zeros, and how many they are."""
    block = np.zeros((plan.segment_steps * plan.batch_size, *shuffled.row_shape), shuffled.dtype)
    return block, shuffled.take(epoch, first, block)


def map_ahead(function: Callable[[A], B], arguments: Iterable[A], threads: int) -> Iterator[B]:
    """Apply a function in threads, in order, at most `threads` results ahead of the caller."""
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as executor:
        waiting: deque[Future[B]] = deque()
        for argument in arguments:
            waiting.append(executor.submit(function, argument))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
