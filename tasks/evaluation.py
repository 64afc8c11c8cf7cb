"""Metrics and baselines: plain arithmetic on arrays."""

import numpy as np
from numpy.typing import NDArray

LAB_LOSSES = {"shallow": 0.2842, "deep": 0.2774}
"""Final validation losses that the lab's notebook prints, on Fashion-MNIST, nats per pixel."""


def entropy_floor(images: NDArray[np.uint8], scale: float) -> float:
    """The least binary cross-entropy per pixel that any reconstruction can have, in nats.

    A grey target t costs -t log p - (1-t) log(1-p), least at p = t, where it is the entropy of a
    coin that shows heads with probability t. The floor is its mean over all pixels.

    Args:
        images: (N, height, width) uint8.
        scale: the value that becomes 1.0; the floor takes targets above 1 as 1.

    Source: Cover and Thomas, Elements of Information Theory, sections 2.1 and 2.3.
    """
    counts = np.bincount(images.reshape(-1), minlength=256)
    targets = np.minimum(np.arange(256) / scale, 1.0)
    heads, tails = targets, 1.0 - targets
    entropies = -(heads * _safe_log(heads) + tails * _safe_log(tails))
    return float(counts @ entropies / counts.sum())


def count_live_units(codes: NDArray[np.float32]) -> int:
    """How many units of a code carry information about the images.

    A unit is alive if it is above zero for at least 1 %, but not all, of the images, and its
    standard deviation is at least 1 % of the median of the units'.

    Args:
        codes: (N, code_size), not negative.
    """
    active = (codes != 0).mean(axis=0)
    spread = codes.std(axis=0, dtype=np.float64)
    alive = (active >= 0.01) & (active < 1) & (spread >= 0.01 * np.median(spread))
    return int(alive.sum())


def _safe_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log, with 0 for 0, as x log x tends to 0."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)
