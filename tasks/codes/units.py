"""Which units of a code carry information about the images."""

import numpy as np
from numpy.typing import NDArray

LEAST_ACTIVITY = 0.01
"""Of a live unit."""
LEAST_SPREAD = 0.01
"""Standard deviation of a live unit, over that of the median unit."""


def live_units(codes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which units of a code carry information about the images, (code_size,).

    Unit j is alive if a_j >= 0.01 and s_j >= 0.01 median(s), where a_j is its activity and s_j its
    standard deviation over the images. A unit that is positive for every image is alive: the code
    may be whitened, and then hardly a value is clipped. (Until version 0.1 it was not, from 10,000
    images on.)

    Args:
        codes: (N, code_size), not negative.

    Source: the definition is this project's; it detects the dying units of Lu, Shin, Su and
    Karniadakis, Dying ReLU and Initialization, 2019, https://arxiv.org/abs/1903.06733
    """
    spread = codes.std(axis=0, dtype=np.float64)
    alive: NDArray[np.bool_] = (activity(codes) >= LEAST_ACTIVITY) & (
        spread >= LEAST_SPREAD * np.median(spread)
    )
    return alive


def activity(codes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the images for which each unit is not zero, (code_size,): |{n: c_nj != 0}| / N.

    Source: one minus the sparsity of Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural
    Networks, 2011, https://proceedings.mlr.press/v15/glorot11a.html
    """
    share: NDArray[np.float64] = (codes != 0).mean(axis=0)
    return share
