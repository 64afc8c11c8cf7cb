import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.codes.errors import CodesError
from tasks.codes.reader import read_codes
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.models.store import ModelRecord
from tasks.runs.building import building_folder
from tasks.runs.lookup import find_runs
from tasks.runs.retention import delete_old_runs
from tasks.sweeps.records import FailedPoint, SweepPoint, SweepRecord, find_sweeps
from tasks.sweeps.results import (
    complete_sweep,
    delete_old_sweeps,
    find_completed_sweep,
    obtain_point,
    render_csv,
    render_markdown,
)
from tests.conftest import SAMPLE, codes_file, complete
from tests.leftovers import make_old, store_copy
from tests.sweeping import RECORD, SWEEP

NOW, HOUR = timedelta(0), timedelta(hours=1)


@pytest.fixture
def record(model: ModelRecord, dataset: DatasetRecord, root: Path) -> SweepRecord:
    """A sweep of one model that is there."""
    return RECORD.model_copy(
        update={
            "dataset": dataset,
            "points": (obtain_point(RECORD.run, model, dataset, root),),
        }
    )


def test_a_model_is_measured_once(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = obtain_point("sweep-1", model, dataset, root)
    (root / "test.h5").write_bytes(codes_file("test", model, dataset, root))
    errors = read_codes(root / "test.h5", model.name).reconstruction_mse
    assert first.reconstruction_mse == pytest.approx(errors.mean(dtype=float), rel=1e-6)
    monkeypatch.setattr("tasks.sweeps.results._measure_error", lambda *_: 7.0)
    assert obtain_point("sweep-1", model, dataset, root) == first
    trained_again = model.model_copy(update={"weights_sha256": "0" * 64})
    assert obtain_point("sweep-1", trained_again, dataset, root).reconstruction_mse == 7.0


def test_the_table_has_one_line_for_each_model() -> None:
    first, *_, last = csv.DictReader(io.StringIO(render_csv(RECORD)))
    assert first["seed"] == "0"
    assert last == {
        "architecture": "shallow",
        "layers": "784-32-784",
        "code_size": "32",
        "seed": "0",
        "epochs": "2",
        "validation_loss": "0.29",
        "mean_squared_error": "0.014",
        "pca_mean_squared_error": "0.0151",
        "fingerprint": "f" * 64,
    }


def test_the_report_has_means_and_ranges_beside_pca() -> None:
    text = render_markdown(RECORD)
    assert "| shallow | 8 | 2 | 0.3250 (0.3200-0.3300) | 0.03050 (0.03000-0.03100) |" in text
    assert "| shallow | 32 | 1 | 0.2900 | 0.01400 | 0.01510 |" in text


def test_what_was_completed_is_found_and_verified(record: SweepRecord, root: Path) -> None:
    assert find_completed_sweep(record.run, root) is None
    sweep = complete_sweep(record, root)
    assert find_completed_sweep(record.run, root) == sweep
    assert [path.name for path in (root / "sweeps").iterdir()] == [record.run]
    (root / "sweeps" / record.run / "models.csv").write_text("wrong")
    with pytest.raises(CodesError, match=r"models\.csv differs from its manifest"):
        find_completed_sweep(record.run, root)


def test_a_sweep_is_completed_after_a_kill_before_its_folder_got_its_name(
    record: SweepRecord, root: Path
) -> None:
    left = building_folder(record.run, root, "sweeps") / "sweep.json"
    left.write_text("of the attempt that was killed")
    complete_sweep(record, root)
    assert find_completed_sweep(record.run, root)


def test_models_trained_into_another_folder_are_noticed(record: SweepRecord, root: Path) -> None:
    model = record.points[0].model
    (root / model.folder).rename(root / "elsewhere")
    with pytest.raises(StepError, match="all workers need this artifacts folder"):
        complete_sweep(record, root)
    assert not (root / "sweeps" / record.run).exists()


def test_models_that_others_trained_again_do_not_matter_unless_their_weights_differ(
    record: SweepRecord, root: Path
) -> None:
    model = record.points[0].model
    path = root / model.folder / "model.json"
    write_record(path, model.model_copy(update={"weights_sha256": "0" * 64}))
    with pytest.raises(StepError, match="no longer holds the weights that were measured"):
        complete_sweep(record, root)
    write_record(path, model.model_copy(update={"seconds": 0.0}))
    complete_sweep(record, root)
    assert find_completed_sweep(record.run, root)


def test_models_that_could_not_be_trained_are_listed(record: SweepRecord, root: Path) -> None:
    failed = FailedPoint(architecture="deep", code_size=8, seed=1, reason="Its loss became nan")
    sweep = complete_sweep(record.model_copy(update={"failed": (failed,)}), root)
    assert find_completed_sweep(record.run, root) == sweep
    line = "Not trained:\n\n- deep, code size 8, seed 1: Its loss became nan\n\n!["
    assert line in (root / "sweeps" / record.run / "sweep.md").read_text()
    nothing = record.model_copy(update={"run": "sweep-2", "points": (), "failed": (failed,)})
    with pytest.raises(StepError, match="No model of the sweep could be trained: Its loss became"):
        complete_sweep(nothing, root)


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
