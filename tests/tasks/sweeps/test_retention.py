from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.models.store import ModelRecord
from tasks.runs.lookup import find_runs
from tasks.runs.retention import delete_old_runs
from tasks.sweeps.records import SweepPoint, find_sweeps
from tasks.sweeps.retention import delete_old_sweeps
from tests.conftest import SAMPLE, complete
from tests.leftovers import make_old, store_copy
from tests.sweeping import SWEEP

NOW, HOUR = timedelta(0), timedelta(hours=1)


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
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-3", model, dataset, root)
    others = [store_copy(model, fingerprint * 64, root) for fingerprint in "12"]
    for number, other in enumerate(others):
        sweep_of(f"sweep-{number}", other, dataset, root)
        make_old(root / other.folder)
    delete_old_runs("run-3", SAMPLE.dataset, 5, HOUR, root)
    assert all((root / other.folder).exists() for other in others), "runs spare what sweeps need"
    delete_old_sweeps("sweep-1", SAMPLE.dataset, 1, HOUR, root)
    assert len(find_sweeps(root)) == 2, "too young"
    leftover = root / "sweeps" / ".partial-sweep-9"
    leftover.mkdir()
    delete_old_sweeps("sweep-1", SAMPLE.dataset, 1, NOW, root)
    assert [sweep.run for sweep in find_sweeps(root)] == ["sweep-1"]
    assert [(root / other.folder).exists() for other in others] == [False, True]
    assert not leftover.exists()
    assert [run.run for run in find_runs(root)] == ["run-3"]
    assert (root / model.folder).exists()


def test_sweeps_over_other_datasets_are_left_alone(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run, name in (("sweep-0", "other"), ("sweep-1", SAMPLE.dataset), ("sweep-2", "other")):
        sweep_of(run, model, dataset.model_copy(update={"name": name}), root)
    delete_old_sweeps("sweep-1", SAMPLE.dataset, 1, NOW, root)
    assert [sweep.run for sweep in find_sweeps(root)] == ["sweep-0", "sweep-1", "sweep-2"]
