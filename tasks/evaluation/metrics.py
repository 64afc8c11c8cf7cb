"""Metrics and baselines: plain arithmetic on arrays."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.codes.units import activity as activity
from tasks.codes.units import live_units as live_units
from tasks.images.rows import Images, evaluation_rows

BLOCK_BYTES = 32 * 2**20
"""Upper bound of the images that are on the 0 to 1 scale at once, as float64."""


def on_unit_scale(images: Images, scale: float) -> NDArray[np.float32]:
    """Pixels as the models get them: divided by the scale, at most 1, float32."""
    scaled: NDArray[np.float32] = images.astype(np.float32) / np.float32(scale)
    return np.minimum(scaled, np.float32(1), out=scaled)


def entropy_floor(images: Images, scale: float) -> float:
    """The least binary cross-entropy per pixel that any reconstruction can have, in nats.

    A grey target t costs -t log p - (1-t) log(1-p), least at p = t, where it is the entropy of a
    coin that shows heads with probability t. The floor is its mean over all pixels.

    Args:
        images: (N, height, width[, 3]).
        scale: the value that becomes 1.0; targets above 1 count as 1.

    Source: Cover and Thomas, Elements of Information Theory, sections 2.1 and 2.3.
    """
    total = sum(entropy_floors(block, scale).sum() for block in image_blocks(images))
    return float(total / len(images))


def entropy_floors(images: Images, scale: float) -> NDArray[np.float64]:
    """The same of each image, (N,)."""
    if images.dtype.kind == "f":
        entropies = _entropies(images.astype(np.float64), scale)
    else:  # looked up, as there are few values
        entropies = _entropies(np.arange(np.iinfo(images.dtype).max + 1.0), scale)[images]
    floors: NDArray[np.float64] = entropies.reshape(len(images), -1).mean(axis=1)
    return floors


def _entropies(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Entropy of pixels by their values, in nats, same shape."""
    heads = np.minimum(values / scale, 1.0)
    tails = 1.0 - heads
    return -(heads * _safe_log(heads) + tails * _safe_log(tails))


def mean_squared_errors(originals: NDArray[Any], restored: NDArray[Any]) -> NDArray[Any]:
    """Mean squared error of each image, (N,): mean of (restored - original)^2 over its values.

    Args:
        originals: (N, height, width[, 3]) in 0..1.
        restored: the same shape.

    Source: Gonzalez and Woods, Digital Image Processing, section 8.1.
    """
    errors: NDArray[Any] = ((restored - originals) ** 2).reshape(len(originals), -1).mean(axis=1)
    return errors


def peak_signal_to_noise(mean_squared_errors: NDArray[Any]) -> float:
    """Mean over the images of -10 log10(MSE), in decibels; the peak is 1.0.

    An error below 1e-10 counts as 1e-10, so that a perfect image does not make it infinite.

    Args:
        mean_squared_errors: (N,) of each image, on the 0 to 1 scale.

    Source: Gonzalez and Woods, Digital Image Processing, section 8.1.
    """
    errors = np.maximum(mean_squared_errors.astype(np.float64), 1e-10)
    return float(np.mean(-10 * np.log10(errors)))


def structural_similarity(originals: NDArray[Any], restored: NDArray[Any]) -> NDArray[np.float32]:
    """SSIM of each pair of images, (N,) float32, 1.0 for equal ones.

    With the usual Gaussian window of 11 pixels, or of the image's side if that is smaller.

    Args:
        originals: (N, height, width[, 3]) in 0..1; colours are compared apart, then averaged.
        restored: the same shape.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, 2004,
    https://doi.org/10.1109/TIP.2003.819861
    """
    height, width, *channels = originals.shape[1:]
    compare = _compile_ssim(min(11, height, width))
    rows = evaluation_rows(originals[0].size)
    found = []
    for start in range(0, len(originals), rows):
        left, right = (
            images[start : start + rows].reshape(-1, height, width, *(channels or [1]))
            for images in (originals, restored)
        )
        found.append(compare(left.astype(np.float32), right.astype(np.float32)).numpy())
    return np.concatenate(found)


@lru_cache
def _compile_ssim(size: int) -> Any:
    from tasks.core.backend import tf  # seconds that the other metrics need not wait

    def compare(left: Any, right: Any) -> Any:
        return tf.image.ssim(left, right, 1.0, filter_size=size)

    return tf.function(compare, jit_compile=True, autograph=False)


def correlations(codes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson correlation of the units, (code_size, code_size); zero with units that never vary.

    r_ij = sum_n (c_ni - m_i) (c_nj - m_j) / sqrt(sum_n (c_ni - m_i)^2 sum_n (c_nj - m_j)^2), where
    m are the means.
    """
    centred = codes - codes.mean(axis=0, dtype=np.float64)
    norms = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    found: NDArray[np.float64] = scaled.T @ scaled
    return found


def mean_correlation(codes: NDArray[np.float32]) -> float:
    """Mean size of the correlation of two different units that are alive; 0 if there are none."""
    alive = live_units(codes)
    found = np.abs(correlations(codes[:, alive]))
    pairs = found[~np.eye(len(found), dtype=bool)]
    return float(pairs.mean()) if pairs.size else 0.0


def effective_dimension(codes: NDArray[np.float32]) -> float:
    """In how many directions the codes spread: (sum of variances)^2 / sum of their squares.

    The variances are those along the principal axes; for equal ones it is their number.

    Source: the participation ratio, Gao et al., A theory of multineuronal dimensionality, 2017,
    https://doi.org/10.1101/214262
    """
    covariance = np.cov(codes, rowvar=False, dtype=np.float64).reshape(codes.shape[1], -1)
    total, squares = np.trace(covariance), (covariance**2).sum()
    return float(total**2 / squares) if squares > 0 else 0.0


def image_blocks(images: Images) -> Iterator[Images]:
    """Consecutive images, few enough that they can be on the 0 to 1 scale at once."""
    rows = max(1, BLOCK_BYTES // (8 * images[0].size))
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _safe_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log, with 0 for 0, as x log x tends to 0."""
    return np.log(values, out=np.zeros_like(values), where=values > 0)
