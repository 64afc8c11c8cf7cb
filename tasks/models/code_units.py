"""Rebalancing: keep the units of a ReLU code useful during the training.

At a high learning rate, some units become zero for every image (dead: they pass no gradient, so
they stay dead) and some positive for every image (their ReLU does nothing). A shift of their bias
corrects both.

Source of the idea to revive dead units during training: Bricken et al., Towards Monosemanticity,
2023, https://transformer-circuits.pub/2023/monosemantic-features
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXTREME_SHARE = 0.02
"""A unit is shifted if it is positive, or not positive, for a smaller share of the images."""
REVIVED_SHARE = 0.5
"""Share of the images for which a dead unit is positive afterwards."""
CLIPPED_SHARE = 0.1
"""Share of the images for which a unit that was always positive is zero afterwards."""


class Rebalanced(NamedTuple):
    """New biases; those of units that are not shifted keep their bits."""

    code_bias: NDArray[np.float32]
    """(code_size,)."""
    next_bias: NDArray[np.float32]
    """(units of the next layer,)."""


def rebalance(
    pre_activations: NDArray[np.float32],
    code_bias: NDArray[np.float32],
    next_kernel: NDArray[np.float32],
    next_bias: NDArray[np.float32],
) -> Rebalanced:
    """Shift the biases of units that are dead or always positive.

    The next layer's bias makes up for what an always positive unit loses, so that the model's
    output changes only for images that are now clipped.

    Args:
        pre_activations: (images, code_size) float32, the code before its ReLU.
        next_kernel: (code_size, units of the next layer).
    """
    active = (pre_activations > 0).mean(axis=0)  # (code_size,)
    dead, always = active < EXTREME_SHARE, active > 1 - EXTREME_SHARE
    revival = np.quantile(pre_activations, 1 - REVIVED_SHARE, axis=0)
    clipping = np.where(always, np.quantile(pre_activations, CLIPPED_SHARE, axis=0), 0.0)
    shift = np.where(dead, revival, clipping)
    return Rebalanced(
        (code_bias - shift).astype(np.float32),
        (next_bias + clipping @ next_kernel).astype(np.float32),
    )
