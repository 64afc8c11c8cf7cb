"""Metrics of images, reconstructions and codes: arithmetic on arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.codes.units import live_units
from tasks.images.rows import Images, evaluation_rows

SSIM_WINDOW, SSIM_DEVIATION = 11, 1.5
"""Pixels and standard deviation, in pixels, of the window of the structural similarity."""
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
"""Constants that keep its quotients finite, for values in 0..1."""
BLUR_PIXELS = 64
"""Windows that one product of the structural similarity computes along an axis, at most."""


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
    averaged. The Gaussian window has 11 pixels, or the image's shorter side if that is less. Equal
    to `tf.image.ssim` within the rounding of float32.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, 2004,
    https://doi.org/10.1109/TIP.2003.819861
    """
    weights = _gaussian(min(SSIM_WINDOW, *originals.shape[1:3]))
    left, right = map(_as_planes, (originals, reconstructions))
    mean_left, mean_right = _blur(left, weights), _blur(right, weights)
    products, squares = mean_left * mean_right, mean_left**2 + mean_right**2
    covariance = _blur(left * right, weights) - products
    variances = _blur(left**2 + right**2, weights) - squares
    similarities = (2 * products + SSIM_C1) * (2 * covariance + SSIM_C2)
    similarities /= (squares + SSIM_C1) * (variances + SSIM_C2)
    means: NDArray[np.float32] = similarities.reshape(len(originals), -1).mean(axis=1)
    return means


def _as_planes(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images (N, height, width[, 3]) with their colours apart: (N[ x 3], height, width) float32."""
    height, width = images.shape[1:3]
    planes = images if images.ndim == 3 else np.moveaxis(images, -1, 1)
    flat: NDArray[np.float32] = planes.reshape(-1, height, width).astype(np.float32)
    return flat


def _gaussian(size: int) -> NDArray[np.float32]:
    """Weights of a Gaussian window, (size,), whose sum is 1."""
    weights = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * SSIM_DEVIATION**2))
    normalized: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normalized


def _blur(planes: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted means of each window that lies within the image, (N, height, width) -> smaller.

    A product with a band matrix for each axis: much faster than a convolution for small images.
    Long sides are cut, as a band is mostly zeros.
    """
    count, height, width = planes.shape
    flat = planes.reshape(-1, width)  # one product, not one an image
    # Where there are few columns, OpenBLAS computes with what stands behind them in memory too.
    # That may be no number, of which NumPy then warns, although it does not get into the product.
    with np.errstate(invalid="ignore", over="ignore"):
        rows = [flat[:, part] @ _band(part, weights) for part in _parts(width, len(weights))]
        blurred = np.hstack(rows).reshape(count, height, -1)
        columns = [
            _band(part, weights).T @ blurred[:, part] for part in _parts(height, len(weights))
        ]
    return np.concatenate(columns, axis=1)


def _parts(pixels: int, size: int) -> list[slice]:
    """Parts of a side of an image; each overlaps the next by what a window needs."""
    last = size - 1
    return [
        slice(start, min(start + BLUR_PIXELS + last, pixels))
        for start in range(0, pixels - last, BLUR_PIXELS)
    ]


def _band(part: slice, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matrix, (pixels, windows), whose columns are the weights, one row further down each."""
    pixels = part.stop - part.start
    windows = pixels - len(weights) + 1
    band = np.zeros((pixels, windows), np.float32)
    for offset, weight in enumerate(weights):
        band[np.arange(windows) + offset, np.arange(windows)] = weight
    return band


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


def principal_spreads(codes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Standard deviations along the principal axes, (code_size,), largest first.

    They are 0 if there is a single code.
    """
    if len(codes) < 2:
        return np.zeros(codes.shape[1])  # one code has no covariance
    covariance = np.cov(codes, rowvar=False, dtype=np.float64).reshape(codes.shape[1], -1)
    variances = np.linalg.eigvalsh(covariance)[::-1]
    spreads: NDArray[np.float64] = np.sqrt(np.maximum(variances, 0))  # rounding may give -1e-17
    return spreads


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
