from pathlib import Path
from typing import Any

import pytest

from flows.sweep import sweep
from tasks.core.errors import ModelError
from tasks.core.records import DatasetRecord
from tasks.models.fingerprint import fingerprint_of
from tasks.models.obtain import obtain_model
from tasks.models.spec import TrainingSpec
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import Parameters
from tasks.parameters.sweep import GridParameters, SweepParameters
from tasks.parameters.training import TrainingParameters
from tasks.sweeps.records import find_sweeps
from tests.conftest import SAMPLE
from tests.prefect_server import artifacts_of

pytestmark = pytest.mark.usefixtures("prefect_server")

TRAINING = TrainingParameters(shallow_epochs=2, deep_epochs=2, batch_size=64)
GRID = GridParameters(architectures=("shallow",), code_sizes=(32,), seeds=2)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOENCODER_WORKERS", "4")


def models_of(root: Path) -> dict[str, int]:
    """When each stored model was trained."""
    return {path.parent.name: path.stat().st_mtime_ns for path in root.glob("models/*/model.json")}


def test_a_sweep_leaves_its_models_and_a_report(root: Path) -> None:
    done = sweep(data=SAMPLE, grid=GRID, training=TRAINING)
    specs = SweepParameters(data=SAMPLE, grid=GRID, training=TRAINING).specs()
    assert [point.model.spec for point in done.points] == specs
    again = sweep(data=SAMPLE, grid=GRID, training=TRAINING)
    assert (again.points, again.files) == (done.points, done.files)
    folder = root / "sweeps" / done.run
    assert done in find_sweeps(root)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "sweep.json",
        "sweep.md",
        "models.csv",
        "loss-by-code-size.png",
        "loss-by-code-size.svg",
    }
    shown = artifacts_of(done.run)
    name = f"sweep-{SAMPLE.dataset}"
    assert "data:image/svg+xml;base64," in str(shown[f"report-{name}"]), "with its chart"


def test_a_sweep_and_a_run_train_no_model_twice(root: Path, dataset: DatasetRecord) -> None:
    training = TRAINING.model_copy(update={"recipe": "lab"})  # it is compiled sooner
    for spec in Parameters(data=SAMPLE, training=training).specs():
        obtain_model(dataset, spec, "cpu", root, lambda progress: None)
    by_run = models_of(root)
    assert len(by_run) == 2
    sweep(data=SAMPLE, grid=GridParameters(code_sizes=(32,)), training=training)
    assert models_of(root) == by_run


def test_a_model_that_cannot_be_trained_does_not_sink_the_sweep(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain = obtain_model

    def diverge(dataset: DatasetRecord, spec: TrainingSpec, *arguments: Any) -> ModelRecord:
        if spec.architecture.code_size == 4:
            raise ModelError("The shallow model's loss became nan in epoch 1")
        return obtain(dataset, spec, *arguments)

    monkeypatch.setattr("tasks.steps.sweep.obtain_model", diverge)
    shallow = GridParameters(architectures=("shallow",), code_sizes=(4, 32))
    done = sweep(data=SAMPLE, grid=shallow, training=TRAINING)
    assert [point.code_size for point in done.points] == [32]
    assert [(point.code_size, point.seed) for point in done.failed] == [(4, 0)]


def test_a_model_that_fails_fails_the_sweep_but_not_the_others(
    root: Path, dataset: DatasetRecord
) -> None:
    grid = GridParameters(architectures=("shallow",), code_sizes=(4, 32))
    parameters = SweepParameters(data=SAMPLE, grid=grid, training=TRAINING)
    broken, *others = (fingerprint_of(dataset, spec, "cpu") for spec in parameters.specs())
    (root / "models").mkdir()
    (root / "models" / broken).touch()
    state = sweep(data=SAMPLE, grid=grid, training=TRAINING, return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert broken in state.message
    assert set(models_of(root)) == set(others)
    assert not list((root / "sweeps").glob("[!.]*"))
