import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.encoding.neighbors import NeighborsRecord
from tasks.models.store import ModelRecord, obtain_model
from tasks.parameters.retrain import RunParameters
from tasks.runs.manifest import find_runs, published_link
from tasks.runs.publication import publish, run_in_progress
from tasks.runs.retention import collect, collect_sweeps
from tasks.sweeps.records import SweepPoint, find_sweeps
from tests.conftest import SAMPLE, SPEC, complete
from tests.sweeping import SWEEP

NOW, HOUR = timedelta(0), timedelta(hours=1)


def names(root: Path) -> list[str]:
    return [run.run for run in find_runs(root)]


def make_old(folder: Path) -> None:
    """As if nothing had touched it for two hours."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 7200,) * 2, follow_symlinks=False)


@pytest.fixture
def four_runs(model: ModelRecord, dataset: DatasetRecord, root: Path) -> list[str]:
    runs = [f"run-{number}" for number in range(4)]
    for run in runs:
        complete(run, model, dataset, root)
    return runs


def test_the_newest_are_kept(four_runs: list[str], root: Path) -> None:
    collect("run-3", SAMPLE.dataset, 2, NOW, root)
    assert names(root) == ["run-2", "run-3"]


def test_what_was_just_superseded_is_kept(four_runs: list[str], root: Path) -> None:
    collect("run-3", SAMPLE.dataset, 1, HOUR, root)
    assert names(root) == four_runs


def test_grace_counts_from_the_moment_of_being_superseded(four_runs: list[str], root: Path) -> None:
    """An old run that was published until now stays; its age does not matter."""
    publish("run-0", root)
    time.sleep(0.3)
    publish("run-3", root)
    collect("run-3", SAMPLE.dataset, 1, timedelta(seconds=0.25), root)
    assert names(root) == ["run-0", "run-3"]


def test_what_is_published_is_kept_however_old(four_runs: list[str], root: Path) -> None:
    publish("run-0", root)
    collect("run-3", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-0", "run-3"]


def test_runs_that_were_not_published_are_counted_apart(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-0", model, dataset, root)
    for number in range(3):
        complete(f"quick-{number}", model, dataset, root, settings=RunParameters(quick=True))
    collect("quick-2", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-0", "quick-2"]


def test_another_dataset_s_runs_are_left_alone(
    four_runs: list[str], model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    other = dataset.model_copy(update={"name": "other"})
    complete("other-1", model, other, root, settings=RunParameters(keep=1, grace=0))
    assert names(root) == [*four_runs, "other-1"]


def test_a_run_that_just_finished_has_its_grace(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for number in range(3):
        complete(f"quick-{number}", model, dataset, root, settings=RunParameters(quick=True))
    collect("quick-2", SAMPLE.dataset, 1, HOUR, root)
    assert names(root) == ["quick-0", "quick-1", "quick-2"]


def test_completing_a_run_applies_its_own_parameters(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for number in range(4):
        complete(f"run-{number}", model, dataset, root, settings=RunParameters(keep=2, grace=0))
    assert names(root) == ["run-2", "run-3"]
    assert published_link(dataset.name, root).resolve().name == "run-3"


def test_nothing_that_is_not_ours_is_deleted(four_runs: list[str], root: Path) -> None:
    strangers = [
        root / folder / "stranger" for folder in ("runs", "models", "datasets", "neighbors")
    ]
    strangers += [root / "runs" / "run-0-copy", root / "notes"]
    for stranger in strangers:
        stranger.mkdir(parents=True)
        (stranger / "file").touch()
        make_old(stranger)
    (root / "runs" / "run-0-copy" / "manifest.json").write_bytes(
        (root / "runs" / "run-0" / "manifest.json").read_bytes()
    )
    collect("run-3", SAMPLE.dataset, 1, NOW, root)
    assert all((stranger / "file").exists() for stranger in strangers)


def test_what_no_kept_run_needs_is_collected_when_old(
    four_runs: list[str], model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    other = obtain_model(
        dataset, SPEC.model_copy(update={"seed": 1}), "cpu", root, lambda progress: None
    )
    left_behind = [
        root / other.folder,
        root / "models" / ("f" * 64),
        root / "runs" / ".partial-run-9",
    ]
    (left_behind[1] / "checkpoints").mkdir(parents=True)
    left_behind[2].mkdir()
    collect("run-3", SAMPLE.dataset, 5, HOUR, root)
    assert all(folder.exists() for folder in left_behind), "too young"
    for folder in left_behind:
        make_old(folder)
    collect("run-3", SAMPLE.dataset, 5, HOUR, root)
    assert not any(folder.exists() for folder in left_behind)
    assert (root / model.folder).exists()
    assert (root / dataset.folder).exists()


def test_a_dataset_goes_with_its_last_run(
    four_runs: list[str], dataset: DatasetRecord, root: Path
) -> None:
    unused = root / "datasets" / "unused-000000000000"
    unused.mkdir()
    folder = {"folder": f"datasets/{unused.name}"}
    write_record(unused / "dataset.json", dataset.model_copy(update=folder))
    collect("run-3", SAMPLE.dataset, 5, NOW, root)
    assert not unused.exists()
    assert (root / dataset.folder).exists()


def test_neighbours_go_with_their_run(four_runs: list[str], root: Path) -> None:
    for run in ("run-2", "run-3", "run-gone"):
        record = NeighborsRecord(run=run, codes_sha256={}, files=())
        write_record(root / "neighbors" / run / "neighbors.json", record)
        make_old(root / "neighbors" / run)
    young = root / "neighbors" / "run-young"
    write_record(
        young / "neighbors.json", NeighborsRecord(run=young.name, codes_sha256={}, files=())
    )
    collect("run-3", SAMPLE.dataset, 1, HOUR, root)
    assert sorted(path.name for path in (root / "neighbors").iterdir()) == [
        "run-2",
        "run-3",
        young.name,
    ]
    collect("run-3", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-3"]
    assert [path.name for path in (root / "neighbors").iterdir()] == ["run-3"]


def test_nothing_shared_is_deleted_while_another_run_is_in_progress(
    four_runs: list[str], root: Path
) -> None:
    leftover = root / "runs" / ".partial-run-9"
    leftover.mkdir()
    hold = (
        "import sys, time; from pathlib import Path; "
        "from tasks.runs.publication import run_in_progress\n"
        "with run_in_progress('other', Path(sys.argv[1])): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", hold, str(root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        collect("run-3", SAMPLE.dataset, 1, NOW, root)
        assert leftover.exists()
        assert names(root) == ["run-3"], "old runs need no such care: their readers have the grace"
        other.communicate("\n")
    with run_in_progress("run-3", root):
        collect("run-3", SAMPLE.dataset, 1, NOW, root)
    assert not leftover.exists()
    assert [path.name for path in (root / "locks").glob("run-*")] == ["run-run-3.lock"]


def sweep_of(run: str, model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    """A sweep of one model that just finished."""
    facts = {
        "run": run,
        "dataset": dataset,
        "points": (SweepPoint(model=model, reconstruction_mse=0.1),),
        "finished": datetime.now(UTC),
    }
    write_record(root / "sweeps" / run / "sweep.json", SWEEP.model_copy(update=facts))


def test_the_newest_sweeps_are_kept_and_their_models_go_with_them(
    four_runs: list[str], dataset: DatasetRecord, root: Path
) -> None:
    others = [
        obtain_model(
            dataset, SPEC.model_copy(update={"seed": seed}), "cpu", root, lambda progress: None
        )
        for seed in (1, 2)
    ]
    for number, model in enumerate(others):
        sweep_of(f"sweep-{number}", model, dataset, root)
        make_old(root / model.folder)
    collect("run-3", SAMPLE.dataset, 5, HOUR, root)
    assert all((root / model.folder).exists() for model in others), "runs spare what sweeps need"
    collect_sweeps("sweep-1", SAMPLE.dataset, 1, HOUR, root)
    assert len(find_sweeps(root)) == 2, "too young"
    leftover = root / "sweeps" / ".partial-sweep-9"
    leftover.mkdir()
    collect_sweeps("sweep-1", SAMPLE.dataset, 1, NOW, root)
    assert [sweep.run for sweep in find_sweeps(root)] == ["sweep-1"]
    assert [(root / model.folder).exists() for model in others] == [False, True]
    assert not leftover.exists()
    assert names(root) == four_runs


def test_sweeps_over_other_datasets_are_left_alone(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run, name in (("sweep-0", "other"), ("sweep-1", SAMPLE.dataset), ("sweep-2", "other")):
        sweep_of(run, model, dataset.model_copy(update={"name": name}), root)
    collect_sweeps("sweep-1", SAMPLE.dataset, 1, NOW, root)
    assert [sweep.run for sweep in find_sweeps(root)] == ["sweep-0", "sweep-1", "sweep-2"]
