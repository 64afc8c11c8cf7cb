"""Images moved by one pixel: an augmentation of the training images.

The edge pixels are repeated, so nothing dark enters an image that fills its frame.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.images.rows import Images

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))
"""Pixels down and to the right."""
STREAM = 1
"""Distinguishes the random numbers of the moves from those of the order of an epoch."""


def choose_moves(rows: int, share: float, seed: int, epoch: int) -> NDArray[np.int8]:
    """The move of the image at each position of an epoch, (rows,): an index of `MOVES`, or -1.

    A function of the arguments alone: where a training is cut or resumed changes nothing.

    Args:
        share: the share of the images that are moved, 0 to 1.
    """
    generator = np.random.default_rng([seed, epoch, STREAM])
    moves = generator.integers(0, len(MOVES), rows, np.int8)
    moves[generator.random(rows) >= share] = -1
    return moves


def shift_images(images: Images, moves: NDArray[np.int8]) -> None:
    """Move each of `images`, (N, height, width[, 3]), in place by its move, (N,)."""
    for index, (down, right) in enumerate(MOVES):
        chosen = np.flatnonzero(moves == index)
        images[chosen] = _shifted(images[chosen], down, right)


def _shifted(images: Images, down: int, right: int) -> Images:
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return images[:, rows][:, :, columns]
