"""Principal component analysis of images: what a linear code of a given size can hold.

Source: Bishop, Pattern Recognition and Machine Learning, section 12.1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.metrics import flat_pixels, image_blocks
from tasks.images.rows import Images, spaced_rows

SAMPLE_BYTES = 2**28
"""Of the images that PCA is computed from, as float32; enough for all of Fashion-MNIST."""
PARTS = 16
"""A sample is converted in as many parts: only one of them is in memory twice."""


class Pca(NamedTuple):
    """A PCA of the training images."""

    mean: NDArray[np.float32]
    """(pixels,)."""
    components: NDArray[np.float32]
    """(count, pixels), orthonormal, largest variance first."""

    def project(self, images: Images, scale: float) -> NDArray[np.float32]:
        """Codes of images, (N, count)."""
        centred: NDArray[np.float32] = flat_pixels(images, scale) - self.mean
        return centred @ self.components.T

    def reconstruct(self, codes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[Any]:
        """Images from codes, (N, *shape) float32, about 0..1: not clipped."""
        return (codes @ self.components + self.mean).reshape(len(codes), *shape)


def pixel_moments(images: Images, scale: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation of each pixel over all images, both (pixels,) float64."""
    from sklearn.preprocessing import StandardScaler

    moments = StandardScaler()
    for block in image_blocks(images):
        moments.partial_fit(flat_pixels(block, scale))
    return moments.mean_, np.sqrt(moments.var_)


def principal_components(images: Images, scale: float, count: int) -> NDArray[np.float32]:
    """Principal components of the images, or of a sample that fits `SAMPLE_BYTES`.

    Args:
        images: (N, height, width[, 3]), usually memory-mapped.
        scale: the value that becomes 1.0.
        count: components wanted; there are at most as many as images and as pixels.

    Returns:
        (count, pixels), orthonormal, largest variance first. The entry of largest size of each
        component is positive, so that equal images give equal bits.
    """
    from sklearn.decomposition import PCA

    rows = spaced_rows(len(images), max(count, SAMPLE_BYTES // (4 * images[0].size)))
    sample = sample_features(images, rows, lambda part: flat_pixels(part, scale))
    sample -= sample.mean(axis=0, dtype=np.float64)  # else float32 covariances lose two digits
    # Exact up to 1,000 pixels if there are ten times as many images, else randomized from a seed.
    pca = PCA(min(count, *sample.shape), copy=False, random_state=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # equal images have no variance to share
        components: NDArray[np.float32] = pca.fit(sample).components_
    return components


def sample_features(
    images: Images, rows: NDArray[np.int64], features_of: Callable[[Images], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Features of some images, (rows, features), computed part by part."""
    features = np.empty((len(rows), features_of(images[:1]).shape[1]), np.float32)
    for part in np.array_split(np.arange(len(rows)), min(PARTS, len(rows))):
        features[part] = features_of(images[rows[part]])
    return features
