"""Changes of basis that are folded into dense layers and leave the reconstruction as it is.

A distance between two codes is worth most to their readers if all directions of the code count
alike. z is the code before its ReLU, C its covariance over a sample of images.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

DEAD_SHARE = 0.01
"""A unit that is positive for a smaller share of the images is dead."""
REVIVED_SHARE = 0.5
"""Share of the images for which a dead unit is positive afterwards."""
ACTING_SHARE = 0.5
"""Of the variance that the ReLU passes on: if it clips more than this, it acts."""
CLIPPED_SHARE = 0.02
"""Share of the images for which each unit is zero after whitening."""
SMALLEST_VARIANCE = 1e-3
"""Smaller eigenvalues of C are raised to this share of their mean."""


class Affine(NamedTuple):
    """A dense layer: x kernel + bias."""

    kernel: Array
    """(inputs, units)."""
    bias: Array
    """(units,)."""


class CodeLayers(NamedTuple):
    """The layer whose ReLU gives the code, and the only one that takes the code."""

    code: Affine
    following: Affine


def dead_units(pre_activations: Array) -> NDArray[np.bool_]:
    """Which units are zero for almost all images, (code_size,)."""
    dead: NDArray[np.bool_] = (pre_activations > 0).mean(axis=0) < DEAD_SHARE
    return dead


def relu_acts(pre_activations: Array, following: Affine) -> bool:
    """Whether the ReLU matters to the next layer: whether whitening would change what it gets.

    It does if min(z, 0) W of the living units varies more than `ACTING_SHARE` times as much as
    max(z, 0) W, W being the next kernel. The share of negative values tells less: units with small
    weights may be clipped for most images.

    Args:
        pre_activations: z, (images, code_size), the code before its ReLU.
    """
    living = ~dead_units(pre_activations)
    clipped, passed = (
        (part[:, living] @ following.kernel[living]).var(axis=0).sum()
        for part in (np.minimum(pre_activations, 0), np.maximum(pre_activations, 0))
    )
    return bool(clipped > ACTING_SHARE * passed)


def revive(pre_activations: Array, layers: CodeLayers) -> CodeLayers:
    """Make dead units positive for half of the images, unused by the next layer at first.

    A dead unit passes no gradient and would stay dead.

    Source of the idea: Bricken et al., Towards Monosemanticity, 2023,
    https://transformer-circuits.pub/2023/monosemantic-features
    """
    code, following = layers
    dead = dead_units(pre_activations)
    shift = np.where(dead, np.quantile(pre_activations, 1 - REVIVED_SHARE, axis=0), 0)
    kernel = np.where(dead[:, np.newaxis], 0, following.kernel)
    return CodeLayers(Affine(code.kernel, code.bias - shift), Affine(kernel, following.bias))


def whiten(pre_activations: Array, layers: CodeLayers) -> CodeLayers:
    """Give the code units unit variance and no correlation.

    z' = (z - mean) A + o with A = C^(-1/2), the whitening that changes z least (ZCA). o makes each
    unit negative for `CLIPPED_SHARE` of the images. The next layer takes A^-1, so that the
    reconstruction changes only where the ReLU clips.

    Source: Kessy, Lewin and Strimmer, Optimal Whitening and Decorrelation, 2018,
    https://arxiv.org/abs/1512.00809
    """
    code, following = layers
    z = pre_activations.astype(np.float64)
    mean = z.mean(axis=0)
    variances, directions = np.linalg.eigh(
        np.cov(z, rowvar=False, bias=True).reshape(z.shape[1], -1)
    )
    spread = np.sqrt(np.maximum(variances, SMALLEST_VARIANCE * variances.mean()))
    forward, backward = (directions * scale @ directions.T for scale in (1 / spread, spread))
    offset = -np.quantile((z - mean) @ forward, CLIPPED_SHARE, axis=0)
    return CodeLayers(
        Affine(code.kernel @ forward, (code.bias - mean) @ forward + offset),
        Affine(
            backward @ following.kernel,
            following.bias + (mean - offset @ backward) @ following.kernel,
        ),
    )


def scale_units(pre_activations: Array, layers: CodeLayers) -> CodeLayers:
    """Divide each unit by its standard deviation, which is exact under a ReLU."""
    code, following = layers
    spread = np.maximum(pre_activations, 0).std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1
    return CodeLayers(
        Affine(code.kernel / spread, code.bias / spread),
        Affine(following.kernel * spread[:, np.newaxis], following.bias),
    )


def fold_centre(centre: Array, first: Affine) -> Affine:
    """The first layer for images x instead of x - centre: its bias becomes b - centre kernel.

    Args:
        centre: (pixels,), what was subtracted from each image.
    """
    return Affine(first.kernel, first.bias - centre.astype(np.float64) @ first.kernel)
