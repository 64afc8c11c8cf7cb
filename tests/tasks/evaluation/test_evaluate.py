from pathlib import Path

import numpy as np
import pytest

from tasks.codes.reader import open_codes
from tasks.core.records import SPLITS, DatasetRecord
from tasks.core.storage import write_bytes
from tasks.encoding.encoder import load_autoencoder
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.records import Metrics
from tasks.images.store import open_images
from tasks.models.store import ModelRecord
from tests.conftest import codes_file


@pytest.fixture
def metrics(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Metrics:
    for split in SPLITS:
        write_bytes(root / "codes" / f"{split}.h5", codes_file(split, model, dataset, root))
    baselines = obtain_baselines(dataset, {32}, root)
    codes = root / "codes"
    with open_codes(codes / "train.h5") as train, open_codes(codes / "test.h5") as test:
        return evaluate_model(model, dataset, baselines, {"train": train, "test": test}, root)


def test_metrics_are_those_of_the_reconstructions(
    metrics: Metrics, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    originals = open_images(dataset, "test", root) / 255
    images = open_images(dataset, "test", root)
    (block,) = load_autoencoder(model, root).reconstruct(images, dataset.scale)
    errors = ((block.reconstructions.reshape(originals.shape) - originals) ** 2).mean(axis=(1, 2))
    assert metrics.reconstruction_mse == pytest.approx(errors.mean(), rel=1e-4)
    assert metrics.psnr == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-4)
    assert metrics.validation_loss == model.validation_loss
    assert metrics.worst[0] == errors.argmax()
    assert metrics.best[0] == errors.argmin()
    assert 0 < metrics.ssim < 1
    assert metrics.excess_loss == metrics.validation_loss - metrics.entropy_floor > 0


def test_classes_add_up_to_the_whole(metrics: Metrics) -> None:
    images = np.array([found.images for found in metrics.classes])
    assert images.sum() == 128
    for name, whole in (
        ("loss", metrics.validation_loss),
        ("floor", metrics.entropy_floor),
        ("mse", metrics.reconstruction_mse),
    ):
        values = np.array([getattr(found, name) for found in metrics.classes])
        assert (values * images).sum() / 128 == pytest.approx(whole, rel=1e-4)


def test_codes_tell_classes_apart(metrics: Metrics) -> None:
    assert metrics.probes is not None
    assert min(metrics.probes.linear, metrics.probes.nearest_1, metrics.probes.nearest_5) > 0.3
    assert metrics.code_size == 32
