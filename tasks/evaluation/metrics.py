"""Metrics of images, reconstructions and codes: arithmetic on arrays."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.codes.units import live_units
from tasks.images.rows import Images, evaluation_rows


def on_unit_scale(images: Images, scale: float) -> NDArray[np.float32]:
    """Pixels as the models get them, same shape, float32: divided by the scale, at most 1."""
    scaled: NDArray[np.float32] = images.astype(np.float32) / np.float32(scale)
    return np.minimum(scaled, np.float32(1), out=scaled)


def flat_pixels(images: Images, scale: float) -> NDArray[np.float32]:
    """Pixels as the models get them, (N, pixels)."""
    return on_unit_scale(images, scale).reshape(len(images), -1)


def image_blocks(images: Images) -> Iterator[Images]:
    """Consecutive images, in blocks that take little memory as floating-point numbers."""
    rows = evaluation_rows(images[0].size)
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def entropy_floor(images: Images, scale: float) -> float:
    """Lowest binary cross-entropy per pixel that any reconstruction can have, in nats.

    A grey target t costs -t log p - (1-t) log(1-p). The minimum, at p = t, is the entropy of a
    Bernoulli variable with probability t; the floor is its mean over all pixels.

    Values above `scale`, the value that becomes 1.0, count as 1.

    Source: Cover and Thomas, Elements of Information Theory, sections 2.1 and 2.3.
    """
    total = sum(entropy_floors(block, scale).sum() for block in image_blocks(images))
    return float(total / len(images))


def entropy_floors(images: Images, scale: float) -> NDArray[np.float64]:
    """The entropy floor of each image, (N,)."""
    if images.dtype.kind == "f":
        entropies = _entropies(images.astype(np.float64), scale)
    else:  # integers have few values, so a table of entropies is faster
        entropies = _entropies(np.arange(np.iinfo(images.dtype).max + 1.0), scale)[images]
    floors: NDArray[np.float64] = entropies.reshape(len(images), -1).mean(axis=1)
    return floors


def _entropies(values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Entropy of pixels with these values, in nats, same shape."""
    targets = np.minimum(values / scale, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 log 0 counts as 0
        entropies = -(targets * np.log(targets) + (1 - targets) * np.log(1 - targets))
    finite: NDArray[np.float64] = np.nan_to_num(entropies, copy=False)
    return finite


def mean_squared_errors(originals: NDArray[Any], reconstructions: NDArray[Any]) -> NDArray[Any]:
    """Mean squared error of each image, (N,); both arguments (N, height, width[, 3]) in 0..1."""
    squares = (reconstructions - originals) ** 2
    errors: NDArray[Any] = squares.reshape(len(originals), -1).mean(axis=1)
    return errors


def peak_signal_to_noise(mean_squared_errors: NDArray[Any]) -> float:
    """Mean over the images of -10 log10(MSE), in decibels; the peak value is 1.0.

    Errors, (N,), below 1e-10 count as 1e-10, so that a perfect image does not give infinity.

    Source: Gonzalez and Woods, Digital Image Processing, section 8.1.
    """
    errors = np.maximum(mean_squared_errors.astype(np.float64), 1e-10)
    return float(np.mean(-10 * np.log10(errors)))


def structural_similarity(
    originals: NDArray[Any], reconstructions: NDArray[Any]
) -> NDArray[np.float32]:
    """SSIM of each pair of images, (N,) float32; 1.0 for equal images.

    Both arguments are (N, height, width[, 3]) in 0..1; colours are compared separately and
    averaged. The Gaussian window has 11 pixels, or the image's shorter side if that is less.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, 2004,
    https://doi.org/10.1109/TIP.2003.819861
    """
    height, width, *channels = originals.shape[1:]
    compare = _compile_ssim(min(11, height, width))
    left, right = (
        images.reshape(-1, height, width, *(channels or [1])).astype(np.float32)
        for images in (originals, reconstructions)
    )
    similarities: NDArray[np.float32] = compare(left, right).numpy()
    return similarities


@cache
def _compile_ssim(size: int) -> Any:
    from tasks.core.backend import tf  # takes seconds to import; the other metrics do not need it

    def compare(left: Any, right: Any) -> Any:
        return tf.image.ssim(left, right, 1.0, filter_size=size)

    return tf.function(compare, jit_compile=True, autograph=False)


def correlations(codes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson correlations between units, (code_size, code_size); 0 for one that never varies."""
    varying = np.ptp(codes, axis=0) > 0
    matrix = np.zeros((codes.shape[1], codes.shape[1]))
    if varying.any():
        matrix[np.ix_(varying, varying)] = np.corrcoef(
            codes[:, varying], rowvar=False, dtype=np.float64
        )
    return matrix


def mean_correlation(codes: NDArray[np.float32]) -> float:
    """Mean absolute correlation over pairs of different live units; 0 if there are none."""
    matrix = np.abs(correlations(codes[:, live_units(codes)]))
    pairs = matrix[~np.eye(len(matrix), dtype=bool)]
    return float(pairs.mean()) if pairs.size else 0.0


def effective_dimension(codes: NDArray[np.float32]) -> float:
    """Number of directions in which codes spread: (sum of variances)^2 / sum of their squares.

    The variances are those along the principal axes; if all are equal, it is their number.

    Source: the participation ratio, Gao et al., A theory of multineuronal dimensionality, 2017,
    https://doi.org/10.1101/214262
    """
    if len(codes) < 2:
        return 0.0  # one code has no covariance
    covariance = np.cov(codes, rowvar=False, dtype=np.float64).reshape(codes.shape[1], -1)
    total, squares = np.trace(covariance), (covariance**2).sum()
    return float(total**2 / squares) if squares > 0 else 0.0
