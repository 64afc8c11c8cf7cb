"""Principal components of images: what a linear code of a given size can hold.

Source: Bishop, Pattern Recognition and Machine Learning, section 12.1.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.metrics import image_blocks, on_unit_scale
from tasks.images.rows import Images, spaced_rows

COVARIANCE_PIXELS = 3072
"""Up to so many pixels, those of 32 x 32 in colour, the covariance of all of them is held."""
SAMPLED_BYTES = 2**29
"""Beyond, the components are those of a sample, as float32: they need several passes over it."""
BATCH_BYTES = 16 * 2**20
"""Part of the sample that is in memory at once, unless more components than it has are wanted."""


class PixelStatistics(NamedTuple):
    """Of the training images, on the 0 to 1 scale."""

    mean: NDArray[np.float64]
    """(pixels,)."""
    spread: NDArray[np.float64]
    """(pixels,), standard deviations."""
    components: NDArray[np.float64]
    """(count, pixels), orthonormal, of largest variance first.

    The entry of largest size of each is positive.
    """


class Pca(NamedTuple):
    """A PCA of the training images."""

    mean: NDArray[np.float32]
    """(pixels,)."""
    components: NDArray[np.float32]
    """(count, pixels), orthonormal, of largest variance first."""

    def project(self, images: Images, scale: float) -> NDArray[np.float32]:
        """Codes of images, (N, count)."""
        blocks = [(block - self.mean) @ self.components.T for block in float_blocks(images, scale)]
        return np.concatenate(blocks).astype(np.float32)

    def restore(self, codes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Images from codes, (N, *shape), about 0..1: nothing is clipped."""
        restored: NDArray[np.float32] = codes @ self.components + self.mean
        return restored.reshape(len(codes), *shape)


def measure_pixels(images: Images, scale: float, count: int) -> PixelStatistics:
    """Means, spreads and components of all images, in memory that does not grow with them.

    Args:
        images: (N, height, width[, 3]), as a rule memory-mapped.
        scale: the value that becomes 1.0.
        count: of the components.
    """
    if images[0].size <= COVARIANCE_PIXELS:
        return _by_covariance(images, scale, count)
    return _by_sample(images, scale, count)


def _by_covariance(images: Images, scale: float, count: int) -> PixelStatistics:
    """Exact, from the covariance of all images."""
    pixels = images[0].size
    total, products = np.zeros(pixels), np.zeros((pixels, pixels))
    for block in float_blocks(images, scale):
        total += block.sum(axis=0)
        products += block.T @ block
    mean = total / len(images)
    covariance = products / len(images) - np.outer(mean, mean)
    components = np.linalg.eigh(covariance).eigenvectors[:, ::-1][:, :count].T
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    return PixelStatistics(mean, spread, _oriented(components))


def _by_sample(images: Images, scale: float, count: int) -> PixelStatistics:
    """Means and spreads of all images, components of as many as fit `SAMPLED_BYTES`.

    Source: Ross, Lim, Lin and Yang, Incremental Learning for Robust Visual Tracking, 2008,
    https://doi.org/10.1007/s11263-007-0075-7
    """
    from sklearn.decomposition import IncrementalPCA

    pixels = images[0].size
    total, squares = np.zeros(pixels), np.zeros(pixels)
    for block in float_blocks(images, scale):
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    mean = total / len(images)
    spread = np.sqrt(np.maximum(squares / len(images) - mean**2, 0))
    pca = IncrementalPCA(min(count, len(images)))
    for batch in _batches(images, count):
        pca.partial_fit(on_unit_scale(batch, scale).reshape(len(batch), -1))
    return PixelStatistics(mean, spread, _oriented(pca.components_.astype(np.float64)))


def _batches(images: Images, count: int) -> Iterator[Images]:
    """Evenly spaced images, in batches of at least `count`, if there are as many."""
    row_bytes = 4 * images[0].size
    batch_rows = max(count, BATCH_BYTES // row_bytes)
    sampled = spaced_rows(len(images), max(batch_rows, SAMPLED_BYTES // row_bytes))
    batches = max(1, len(sampled) // batch_rows)
    for rows in np.array_split(sampled, batches):
        yield images[rows]


def _oriented(components: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * signs[:, np.newaxis])


def float_blocks(images: Images, scale: float) -> Iterator[NDArray[np.float64]]:
    """Consecutive images on the 0 to 1 scale, (rows, pixels) float64, in bounded memory."""
    for block in image_blocks(images):
        yield np.minimum(block.reshape(len(block), -1) / scale, 1.0)
