"""What all tests share: a real sample of Fashion-MNIST and an artifacts folder of their own."""

from pathlib import Path

import pytest

from tasks.architectures import SHALLOW
from tasks.dataset import fetch_dataset
from tasks.models import ModelRecord, obtain_model
from tasks.parameters import DataParameters
from tasks.recipes import TrainingSpec, choose_recipe
from tasks.records import DatasetRecord

SAMPLE_FOLDER = Path(__file__).parent / "fixtures" / "fashion-mnist-sample"
SAMPLE = DataParameters(dataset="fashion-mnist-sample", folder=str(SAMPLE_FOLDER))
"""512 training and 128 test images."""
SPEC = TrainingSpec(
    architecture=SHALLOW, recipe=choose_recipe("default", SHALLOW, epochs=2, batch_size=100), seed=0
)
"""A training of 12 steps on the sample; the last batch of an epoch has 12 of 100 images."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty artifacts folder."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(folder))
    return folder


@pytest.fixture
def dataset(root: Path) -> DatasetRecord:
    """The sample, fetched into the artifacts folder."""
    return fetch_dataset(SAMPLE, root)


@pytest.fixture
def model(dataset: DatasetRecord, root: Path) -> ModelRecord:
    """A shallow model trained on the sample."""
    return obtain_model(dataset, SPEC, "cpu", root, report=lambda progress: None)
