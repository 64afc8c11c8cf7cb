from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from tasks.evaluation import pca
from tasks.evaluation.metrics import flat_pixels
from tasks.evaluation.pca import Pca, pixel_moments, principal_components


def faces(count: int, height: int = 5, width: int = 4) -> NDArray[np.uint8]:
    """Images with six strong directions, and noise."""
    generator = np.random.default_rng(0)
    strengths = np.array([[40, 30, 20, 12, 7, 4]]).T
    directions = generator.normal(size=(6, height * width)) * strengths
    values = 128 + generator.normal(size=(count, 6)) @ directions / 4
    noisy = values + generator.normal(size=values.shape)
    images: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return images.reshape(count, height, width)


@pytest.mark.parametrize(
    ("shape", "tolerance"), [((5, 4), 1e-4), ((26, 40), 0.01)], ids=["exact", "randomized"]
)
def test_components_are_those_of_a_full_decomposition(
    shape: tuple[int, int], tolerance: float
) -> None:
    images = faces(300, *shape)
    found = principal_components(images, 255.0, 4)
    reference = PCA(4, svd_solver="full").fit(images.reshape(300, -1) / 255)
    overlap = found @ reference.components_.T
    np.testing.assert_allclose(overlap, np.eye(4), atol=tolerance)  # of unit vectors, signs too
    largest = np.abs(found).max(axis=1)
    assert (found.max(axis=1) == largest).all()


@pytest.mark.parametrize("shape", [(5, 4), (26, 40)])
def test_equal_images_give_equal_bits(shape: tuple[int, int]) -> None:
    first, second = (principal_components(faces(300, *shape), 255.0, 8) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_sample_is_spread_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = faces(500)
    monkeypatch.setattr(pca, "SAMPLE_BYTES", 4 * 20 * 50)
    sampled = principal_components(images, 255.0, 4)
    assert np.array_equal(sampled, principal_components(images[::10], 255.0, 4))
    monkeypatch.undo()
    assert not np.array_equal(sampled, principal_components(images, 255.0, 4))


@pytest.mark.parametrize(("images", "count"), [(1, 1), (3, 3), (50, 20)])
def test_there_are_at_most_as_many_components_as_images_and_pixels(images: int, count: int) -> None:
    found = principal_components(faces(images), 255.0, 32)
    assert found.shape == (count, 20)
    assert np.isfinite(found).all()


def test_equal_images_have_finite_components() -> None:
    found = principal_components(np.full((300, 5, 4), 7, np.uint8), 255.0, 3)
    assert found.shape == (3, 20)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_moments_are_those_of_all_images(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.images.rows.EVALUATION_ROWS", 8)  # so that there are many blocks
    images: NDArray[Any] = faces(500).astype(kind)
    mean, spread = pixel_moments(images, 255.0)
    flat = images.reshape(500, -1).astype(np.float64) / 255
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spread, flat.std(axis=0), rtol=1e-5)


def test_all_components_reconstruct_the_images() -> None:
    images = faces(500)
    mean, _ = pixel_moments(images, 255.0)
    whole = Pca(mean.astype(np.float32), principal_components(images, 255.0, 20))
    codes = whole.project(images, 255.0)
    assert codes.shape == (500, 20)
    reconstructions = whole.reconstruct(codes, (5, 4))
    np.testing.assert_allclose(
        reconstructions.reshape(500, -1), flat_pixels(images, 255.0), atol=1e-5
    )  # pixels reach 1
