"""Whole runs and servers, which take longer than unit tests may."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from flows.sweep import sweep
from flows.terminal import database
from flows.terminal.temporary_server import start_separate_server
from tasks.core.records import DatasetRecord
from tasks.models.obtain import obtain_model
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import RunParameters
from tasks.parameters.sweep import GridParameters, SweepParameters
from tasks.parameters.training import TrainingParameters
from tasks.runs.manifest import Outcome
from tests.conftest import GATE, SAMPLE, SAMPLE_FOLDER
from tests.flows.test_retrain import outcome_of
from tests.prefect_server import START_SECONDS
from tests.waiting import wait_until


def random_images(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    generator = np.random.default_rng(0)
    values = generator.random((24, *shape))
    return (values * 60_000).astype(np.uint16) if dtype is np.uint16 else values.astype(dtype)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("shape", "dtype", "labels"),
    [
        ((1, 1), np.uint16, [7] * 24),
        ((3, 200), np.float32, None),
        ((40, 30, 3), np.float64, [0, 255] * 12),
    ],
)
def test_a_run_learns_from_images_of_any_kind(
    shape: tuple[int, ...], dtype: type, labels: list[int] | None, tmp_path: Path, root: Path
) -> None:
    source = {"images_file": str(tmp_path / "images.npy")}
    np.save(tmp_path / "images.npy", random_images(shape, dtype))
    if labels:
        np.save(tmp_path / "labels.npy", np.array(labels))
        source["labels_file"] = str(tmp_path / "labels.npy")
    if shape[-1] != 3:  # 24 x 3 x 200 might be 200 images
        source["axes"] = "NHW"
    data = DataParameters.model_validate(
        {"dataset": "any", "source": source, "test_share": 0.5, "split_seed": 3}
    )
    training = TrainingParameters(shallow_epochs=1, deep_epochs=1, batch_size=8)
    run = RunParameters(publish_anyway=True)
    manifest = outcome_of(data=data, training=training, gate=GATE, run=run).manifest
    assert manifest.verdict.published
    assert manifest.dataset.image_shape == shape
    assert "figures/extremes-deep.png" in {file.path for file in manifest.files}
    with h5py.File(root / "published" / "any" / "codes" / "test.h5") as file:
        assert len(file["deep/codes"]) == 12


@pytest.mark.usefixtures("prefect_server")
def test_training_again_gives_the_same_bits(root: Path) -> None:
    def run(**settings: bool) -> Outcome:
        outcome = outcome_of(
            data=SAMPLE,
            training=TrainingParameters(shallow_epochs=2, deep_epochs=2, batch_size=64),
            run=RunParameters(publish_anyway=True, **settings),
        )
        assert not outcome.unchanged
        return outcome

    first = run()
    records = list(root.glob("models/*/model.json"))
    assert len(records) == 2
    before = [path.stat().st_mtime_ns for path in records]
    forced = run(retrain=True)
    assert all(path.stat().st_mtime_ns > then for path, then in zip(records, before, strict=True))
    first_files, forced_files = (
        {(file.path, file.sha256) for file in outcome.manifest.files} for outcome in (first, forced)
    )
    same = {path for path, _ in first_files & forced_files}
    assert {"codes/test.h5", "codes/test-deep.npy", "models/deep/encoder.h5"} <= same
    assert "models/deep/history.json" in same


@pytest.mark.usefixtures("prefect_server")
def test_models_trained_at_once_have_the_bits_of_those_trained_alone(
    root: Path,
    trained: tuple[DatasetRecord, ModelRecord, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their eigenbases must not depend on what another thread does."""
    monkeypatch.setenv("AUTOENCODER_WORKERS", "4")
    grid = GridParameters(architectures=("deep",), code_sizes=(32,), seeds=2)
    training = TrainingParameters(deep_epochs=2, batch_size=64)
    done = sweep(data=SAMPLE, grid=grid, training=training)
    dataset, _, alone = trained
    specs = SweepParameters(data=SAMPLE, grid=grid, training=training).specs()
    assert [point.model.spec for point in done.points] == specs
    for point in done.points:
        expected = obtain_model(dataset, point.model.spec, "cpu", alone, lambda progress: None)
        assert point.model.weights_sha256 == expected.weights_sha256


def is_training(root: Path) -> bool:
    """Whether the log of the only run says so."""
    return any("Compiling" in path.read_text() for path in root.glob("logs/*.log"))


def test_ctrl_c_ends_a_run_with_exit_code_130_and_one_line(prefect_server: str, root: Path) -> None:
    flags = ["--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)]
    flags += ["--shallow-epochs", "10000"]
    # A process started with SIGINT ignored would ignore it: so it is if pytest runs in a shell's &.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = subprocess.Popen(
        [sys.executable, "-m", "flows.retrain", *flags],
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, ours)
    with command:
        assert command.stderr
        assert any("Prefect server" in line for line in command.stderr)
        wait_until(lambda: is_training(root), seconds=START_SECONDS)
        command.send_signal(signal.SIGINT)
        shown = command.stderr.read()
    assert command.returncode == 130
    assert "Interrupted: run it again to resume" in shown.splitlines()
    assert "Traceback" not in shown
    assert not list(root.glob("runs/[!.]*"))


def test_the_template_of_databases_has_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever database is configured."""
    template, elsewhere = tmp_path / "share" / "prefect.db", tmp_path / "elsewhere.db"
    monkeypatch.setattr(database, "TEMPLATE", template)
    url = f"sqlite+aiosqlite:///{elsewhere}"
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: url}):
        start_separate_server(START_SECONDS).stop()
    assert not elsewhere.exists()
    assert [path.name for path in template.parent.iterdir()] == [template.name]
    with closing(sqlite3.connect(template)) as found:
        tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
        assert {"flow_run", "task_run", "artifact", "log", "alembic_version"} <= tables
        assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
