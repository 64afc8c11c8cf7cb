"""Which units of a code carry information about the images."""

import numpy as np
from numpy.typing import NDArray

LINEAR_IMAGES = 10_000
"""From this many images on, a unit above zero for all of them does not act as a ReLU any more."""


def live_units(codes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which units of a code carry information about the images, (code_size,).

    Unit j is alive if 0.01 <= a_j < 1 and s_j >= 0.01 median(s), where a_j is its activity and s_j
    its standard deviation over the images. For few images, most units are above zero for all of
    them: with fewer than `LINEAR_IMAGES`, a_j = 1 counts as alive.

    Args:
        codes: (N, code_size), not negative.

    Source: the definition is this project's; it detects the dying units of Lu, Shin, Su and
    Karniadakis, Dying ReLU and Initialization, 2019, https://arxiv.org/abs/1903.06733
    """
    active = activity(codes)
    spread = codes.std(axis=0, dtype=np.float64)
    alive: NDArray[np.bool_] = (active >= 0.01) & (spread >= 0.01 * np.median(spread))
    if len(codes) >= LINEAR_IMAGES:
        alive &= active < 1
    return alive


def activity(codes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the images for which each unit is not zero, (code_size,): |{n: c_nj != 0}| / N.

    Source: one minus the sparsity of Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural
    Networks, 2011, https://proceedings.mlr.press/v15/glorot11a.html
    """
    share: NDArray[np.float64] = (codes != 0).mean(axis=0)
    return share
