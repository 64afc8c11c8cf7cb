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


def _safe_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log, with 0 for 0, as x log x tends to 0."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)
