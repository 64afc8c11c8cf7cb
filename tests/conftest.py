"""What all tests share: a real sample of Fashion-MNIST and an artifacts folder of their own."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from xdist.scheduler import LoadFileScheduling

import tasks.reports.figures.plotting  # noqa: F401 - before a test imports Matplotlib itself
from tasks.codes.published import PLAIN_ENCODER_FILE
from tasks.core.cores import usable_cores
from tasks.core.records import (
    SPLITS,
    DatasetRecord,
    FileRecord,
    Split,
)
from tasks.core.storage import write_bytes
from tasks.encoding.encoder import encode_split
from tasks.encoding.export import obtain_encoder, write_arrays
from tasks.evaluation.records import (
    Baselines,
    ClassMetrics,
    DataSummary,
    Metrics,
    PcaScores,
    PixelBaselines,
    Probes,
)
from tasks.images.formats.idx import open_idx_folder
from tasks.images.rows import Rows
from tasks.images.sources import IdxFolder
from tasks.models.architectures import SHALLOW, DenseArchitecture
from tasks.models.obtain import obtain_model
from tasks.models.spec import STRENGTH, Anchor, TrainingSpec, choose_recipe
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import GateParameters, Parameters, RunParameters
from tasks.parameters.training import TrainingParameters
from tasks.reports.report import render_files
from tasks.runs.building import building_folder
from tasks.runs.gate import NOBODY, Person
from tasks.runs.manifest import Manifest, RunRecord
from tasks.runs.publication import complete_run
from tests.fetching import fetch

pytest_plugins = ["tests.prefect_server"]

SAMPLE_FOLDER = Path(__file__).parent / "fixtures" / "fashion-mnist-sample"
SAMPLE = DataParameters(
    dataset="fashion-mnist-sample", source=IdxFolder(idx_folder=str(SAMPLE_FOLDER))
)
"""512 training and 128 test images."""
TRAINING = TrainingParameters(shallow_epochs=40, deep_epochs=40, batch_size=64)
"""320 steps of each model: enough to learn something from the sample, which takes a second."""
GATE = GateParameters(pca_ratio=2, tolerance=0.5, own_nearest=0.5)
"""Limits that the models of `TRAINING` keep, and those of a few epochs do not.

512 images are too few to be better than their PCA, and losses differ from seed to seed.
"""
SPEC = TrainingSpec(
    architecture=SHALLOW, recipe=choose_recipe("default", SHALLOW, epochs=2, batch_size=100), seed=0
)
"""A training of 12 steps on the sample; the last batch of an epoch has 12 of 100 images."""


MOST_WORKERS = 4
"""More gain little: the tests that share the Prefect server are a quarter of all."""
PREFECT_TESTS = (
    "tests/flows/test_",
    "tests/flows/terminal/test_killed_runs.py",
    "tests/tasks/steps/",
    "tests/flows/server/test_registration.py",
    "tests/flows/server/test_rescue.py",
)
"""Unit tests that share a Prefect server, which takes seconds to start."""
END_TO_END = "tests/end_to_end/test_"
SERVED_TESTS = tuple(f"{END_TO_END}{name}.py" for name in ("server", "ui"))
"""They share `make serve`, and wait most of their time."""
CONTAINER_TESTS = tuple(
    f"{END_TO_END}{name}.py" for name in ("crash", "dask", "full_disk", "images", "stack")
)
"""The last two share a Docker engine and its images, which are built during the first three."""
GROUPS = {"prefect": PREFECT_TESTS, "served": SERVED_TESTS, "containers": CONTAINER_TESTS}
"""Files whose tests run in one process, one after the other."""
SLOW_TESTS = "tests/tasks/models/test_training.py"
"""After those of the server, the file that takes most time."""


def group_of(nodeid: str) -> str | None:
    """The group of a test, if its file is in one."""
    return next((name for name, files in GROUPS.items() if nodeid.startswith(files)), None)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it ships no types
    """The tests of a file run in one process, and so do those of a group."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return group_of(nodeid) or scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Called where tests run in several processes (`-n`)."""
    return Scheduling(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """The cores that this process may use; with a single one, it runs the tests itself."""
    cores = usable_cores()
    return 0 if cores == 1 else min(cores, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest, so that no process waits for it at the end."""
    for item in items:
        shares = "prefect_server" in getattr(item, "fixturenames", ())
        if shares and not item.nodeid.startswith(END_TO_END):
            assert item.nodeid.startswith(PREFECT_TESTS), f"Add {item.nodeid} to PREFECT_TESTS"
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(PREFECT_TESTS),
            not item.nodeid.startswith(SLOW_TESTS),
        )
    )


def read_all(rows: Rows | None) -> NDArray[Any]:
    """An array whole."""
    assert rows is not None
    return rows.read()


def sample_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The sample's training and test images."""
    raw = open_idx_folder(SAMPLE_FOLDER)
    assert raw.test is not None
    return read_all(raw.train.images), read_all(raw.test.images)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: only a power failure would show that a file has not reached it yet."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty artifacts folder."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetRecord, ModelRecord, Path]:
    """The sample, and a shallow model trained on it, in a folder that tests copy from."""
    root = tmp_path_factory.mktemp("trained")
    dataset = fetch(SAMPLE, root)
    return dataset, obtain_model(dataset, SPEC, "cpu", root, lambda progress: None), root


@pytest.fixture
def dataset(root: Path, trained: tuple[DatasetRecord, ModelRecord, Path]) -> DatasetRecord:
    """The sample, fetched into the artifacts folder."""
    record, _, source = trained
    shutil.copytree(source / record.folder, root / record.folder)
    return record


@pytest.fixture
def model(
    dataset: DatasetRecord, root: Path, trained: tuple[DatasetRecord, ModelRecord, Path]
) -> ModelRecord:
    """A shallow model trained on the sample."""
    _, record, source = trained
    shutil.copytree(source / record.folder, root / record.folder)
    return record


def anchor_to(model: ModelRecord) -> Anchor:
    """The anchor of models that keep the basis of one that was trained on the sample."""
    return Anchor(
        basis=model.encoder_weights_sha256,
        fingerprint=model.fingerprint,
        scale=255.0,
        strength=STRENGTH,
    )


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds that it takes a run to draw and show its figures."""
    monkeypatch.setattr("tasks.reports.figures.drawing.draw_figures", lambda *arguments: iter(()))


EXAMPLE_DATASET = DatasetRecord(
    name="mine",
    folder="datasets/mine-aaaaaaaaaaaa",
    source="test",
    payload_sha256="a" * 64,
    payloads={"test_images": "t" * 64},
    image_shape=(28, 28),
    dtype="uint8",
    rows={"train": 3, "test": 2},
    scale=255.0,
)
"""Facts about images that are nowhere, for tests that need no more."""


def example_model(name: str = "shallow", code_size: int = 32) -> ModelRecord:
    """Facts about a model that was never trained."""
    architecture = DenseArchitecture(name=name, hidden=(), code_size=code_size)
    return ModelRecord(
        name=name,
        fingerprint="f" * 64,
        folder=f"models/{'f' * 64}",
        layers=architecture.describe((28, 28)),
        spec=SPEC.model_copy(update={"architecture": architecture}),
        device="cpu",
        dataset_payload_sha256=EXAMPLE_DATASET.payload_sha256,
        parameters=1,
        encoder_parameters=1,
        weights_sha256="b" * 64,
        encoder_weights_sha256="c" * 64,
        basis="c" * 64,
        loss=0.3,
        validation_loss=0.31,
        seconds=1.0,
        files=(),
    )


METRICS = Metrics(
    validation_loss=0.3,
    entropy_floor=0.24,
    reconstruction_mse=0.012,
    pca_mse=0.015,
    psnr=20.0,
    ssim=0.8,
    code_size=32,
    live_units=32,
    activity=0.9,
    correlation=0.1,
    effective_dimension=20.0,
    probes=Probes(linear=0.8, nearest_1=0.8, nearest_5=0.85),
    classes=(
        ClassMetrics(label=0, images=60, loss=0.3, floor=0.24, mse=0.012),
        ClassMetrics(label=1, images=68, loss=0.3, floor=0.24, mse=0.012),
    ),
    worst=(3, 1),
    best=(0, 2),
)
SUMMARY = DataSummary(means=((0.2, 0.4),), spreads=((0.3, 0.3),))
PROBES = Probes(linear=0.8, nearest_1=0.8, nearest_5=0.85)
BASELINES = Baselines(
    pixels=PixelBaselines(
        entropy_floor=0.24,
        probes=PROBES,
        summary=SUMMARY,
        components=FileRecord(path="pca.npy", size=1, sha256="d" * 64),
        component_count=32,
    ),
    pca=(PcaScores(components=32, mse=0.015, psnr=18.5, ssim=0.6, probes=PROBES),),
)


_codes: dict[tuple[str, Split], bytes] = {}
_encoders: dict[ModelRecord, bytes] = {}


def codes_file(split: Split, model: ModelRecord, dataset: DatasetRecord, root: Path) -> bytes:
    """The codes of a split, encoded once for each model."""
    key = (model.fingerprint, split)
    if key not in _codes:
        path = root / f"{split}.h5"
        encode_split(split, dataset, [model], path, root)
        _codes[key] = path.read_bytes()
        path.unlink()
    return _codes[key]


def write_encoder_file(
    model: ModelRecord, dataset: DatasetRecord, folder: Path, root: Path
) -> None:
    """Write the encoder without Keras, exported once for each model."""
    path = folder / "models" / model.name / PLAIN_ENCODER_FILE
    if model in _encoders:
        write_bytes(path, _encoders[model])
    obtain_encoder(model, dataset, folder, root)
    _encoders[model] = path.read_bytes()


def complete(
    run: str,
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    metrics: Metrics = METRICS,
    settings: RunParameters = RunParameters(),
    baselines: Baselines = BASELINES,
    person: Person = NOBODY,
) -> Manifest:
    """Build a run of one model with real codes and complete it."""
    for split in SPLITS:
        write_bytes(
            building_folder(run, root) / "codes" / f"{split}.h5",
            codes_file(split, model, dataset, root),
        )
        write_arrays(split, [model], building_folder(run, root))
    write_encoder_file(model, dataset, building_folder(run, root), root)
    record = RunRecord(
        run=run,
        started=datetime.now(UTC),
        parameters=Parameters(run=settings).model_dump(mode="json"),
        dataset=dataset,
        baselines=baselines,
        models=(model,),
        metrics={model.name: metrics},
    )
    return complete_run(record, root, render_files, person=person)
