"""Keeping the units of a ReLU code useful while a model trains.

At a high learning rate some units end up below zero for every image (dead: they pass no gradient,
so they stay dead) and some above zero for every image (linear: their ReLU does nothing). Shifting
their bias brings both back.

Source of the idea of reviving dead units while training: Bricken et al., Towards Monosemanticity,
2023, https://transformer-circuits.pub/2023/monosemantic-features
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXTREME_SHARE = 0.02
"""A unit is brought back if it is above, or not above, zero for a smaller share of the images."""
REVIVED_SHARE = 0.5
"""Share of the images for which a revived unit is above zero."""
CLIPPED_SHARE = 0.1
"""Share of the images for which a unit that was always above zero no longer is."""


class Rebalanced(NamedTuple):
    """New biases; equal to the old ones where nothing was to be done."""

    code_bias: NDArray[np.float32]
    """(code_size,)."""
    next_bias: NDArray[np.float32]
    """(units of the layer after the code,)."""


def rebalance(
    pre_activations: NDArray[np.float32],
    code_bias: NDArray[np.float32],
    next_kernel: NDArray[np.float32],
    next_bias: NDArray[np.float32],
) -> Rebalanced:
    """Shift the biases of units that are dead or always above zero.

    What an always positive unit loses, the next layer's bias gets, so that the model's output stays
    the same but for the images that are now clipped.

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
