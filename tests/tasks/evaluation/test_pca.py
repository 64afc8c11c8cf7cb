from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from tasks.evaluation import metrics as evaluation
from tasks.evaluation import pca
from tasks.evaluation.pca import measure_pixels


def faces(count: int) -> NDArray[np.uint8]:
    """Images with a few strong directions, and noise."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(6, 20)) * np.array([[40, 30, 20, 12, 7, 4]]).T
    values = 128 + generator.normal(size=(count, 6)) @ directions / 4
    noisy = values + generator.normal(size=values.shape)
    images: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8).reshape(count, 5, 4)
    return images


@pytest.mark.parametrize("exact", [True, False], ids=["covariance", "sample"])
def test_components_are_those_of_scikit_learn(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    images = faces(2000)
    monkeypatch.setattr(evaluation, "BLOCK_BYTES", 8 * 20 * 7)  # seven images at a time
    monkeypatch.setattr(pca, "COVARIANCE_PIXELS", 20 if exact else 19)
    monkeypatch.setattr(pca, "BATCH_BYTES", 4 * 20 * 100)
    found = measure_pixels(images, 255.0, 4)
    flat = images.reshape(-1, 20) / 255
    reference = PCA(4, svd_solver="full").fit(flat)
    np.testing.assert_allclose(found.mean, reference.mean_)
    np.testing.assert_allclose(found.spread, flat.std(axis=0), atol=1e-9)
    overlap = np.abs(found.components @ reference.components_.T)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-9 if exact else 0.05)
    largest = np.abs(found.components).max(axis=1)
    assert (found.components.max(axis=1) == largest).all()


def test_a_sample_is_spread_over_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[NDArray[Any]] = []
    monkeypatch.setattr(pca, "COVARIANCE_PIXELS", 1)
    monkeypatch.setattr(pca, "SAMPLED_BYTES", 4 * 20 * 50)
    monkeypatch.setattr(pca, "BATCH_BYTES", 4 * 20 * 25)
    batches = pca._batches

    def spy(images: NDArray[Any], count: int) -> Any:
        for batch in batches(images, count):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(pca, "_batches", spy)
    images = faces(500)
    measure_pixels(images, 255.0, 4)
    assert [len(batch) for batch in seen] == [25, 25]
    assert np.array_equal(np.concatenate(seen), images[::10])
