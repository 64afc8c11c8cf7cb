from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tasks.core.records import SPLITS, DatasetRecord
from tasks.evaluation import baselines
from tasks.evaluation.baselines import (
    BASELINES_FILE,
    COMPONENTS_FILE,
    load_pca,
    obtain_baselines,
    project_split,
)
from tasks.evaluation.metrics import entropy_floor
from tasks.images.store import open_images


def test_baselines_are_those_of_the_images(dataset: DatasetRecord, root: Path) -> None:
    pixels = obtain_baselines(dataset, set(), root).pixels
    train = np.asarray(open_images(dataset, "train", root)) / dataset.scale
    floor = entropy_floor(open_images(dataset, "test", root), dataset.scale)
    assert pixels.entropy_floor == floor
    assert np.shape(pixels.summary.means) == (8, 8)
    # The second cell of the second row: its pixels vary. Summaries are rounded to five digits.
    assert pixels.summary.means[1][1] == pytest.approx(train[:, 4:8, 4:8].mean(), rel=1e-4)
    spread = train.std(axis=0)[4:8, 4:8].mean()
    assert pixels.summary.spreads[1][1] == pytest.approx(spread, rel=1e-4)
    assert pixels.probes is not None
    assert 0.5 < pixels.probes.nearest_1 < 0.9


@pytest.mark.parametrize("components", [1, 32])
def test_pca_is_scored_as_scikit_learn_reconstructs(
    components: int, dataset: DatasetRecord, root: Path
) -> None:
    scores = obtain_baselines(dataset, {components}, root).pca_of(components)
    train, test = (
        np.asarray(open_images(dataset, split, root)).reshape(-1, 784) / dataset.scale
        for split in SPLITS
    )
    reference = PCA(components, svd_solver="full").fit(train)
    reconstructions = reference.inverse_transform(reference.transform(test))
    errors = ((reconstructions - test) ** 2).mean(axis=1)
    assert scores.mse == pytest.approx(errors.mean(), rel=1e-3)
    assert scores.psnr == pytest.approx(np.mean(-10 * np.log10(errors)), rel=1e-3)
    assert 0 < scores.ssim < 1


def test_features_of_all_images_are_their_projections(dataset: DatasetRecord, root: Path) -> None:
    obtain_baselines(dataset, {4}, root)
    features = project_split(dataset, "test", 4, root)
    pca, images = load_pca(dataset, 4, root), np.asarray(open_images(dataset, "test", root))
    expected = (images.reshape(-1, 784) / dataset.scale - pca.mean) @ pca.components.T
    # Sums of 784 products in float32, of features up to about 10.
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())


def test_they_are_computed_once(
    dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = obtain_baselines(dataset, {8, 32}, root)
    monkeypatch.delattr(baselines, "_compute_pixel_baselines")
    monkeypatch.delattr(baselines, "_score_pca")
    assert obtain_baselines(dataset, {32, 8}, root) == first


def test_a_larger_code_gets_its_components(dataset: DatasetRecord, root: Path) -> None:
    few = obtain_baselines(dataset, {2}, root)
    more = obtain_baselines(dataset, {2, 100}, root)
    assert more.pca_of(2) == few.pca_of(2)
    assert more.pca_of(100).mse < more.pca_of(2).mse
    assert load_pca(dataset, 100, root).components.shape == (100, 784)


@pytest.mark.parametrize("name", [BASELINES_FILE, COMPONENTS_FILE, "pca-8.json"])
def test_a_missing_or_damaged_file_is_computed_again(
    name: str, dataset: DatasetRecord, root: Path
) -> None:
    first = obtain_baselines(dataset, {8}, root)
    path = root / dataset.folder / name
    content = path.read_bytes()
    path.unlink()
    assert obtain_baselines(dataset, {8}, root) == first
    path.write_bytes(content[:-10])
    assert obtain_baselines(dataset, {8}, root) == first
    assert path.read_bytes() == content
