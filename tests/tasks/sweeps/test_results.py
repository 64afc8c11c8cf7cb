import csv
import io
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.evaluation.baselines import obtain_baselines
from tasks.models.store import ModelRecord
from tasks.sweeps.records import SweepRecord, building_sweep
from tasks.sweeps.results import (
    complete_sweep,
    finish_sweep,
    obtain_point,
    render_csv,
    render_markdown,
)
from tests.sweeping import RECORD


@pytest.fixture
def record(model: ModelRecord, dataset: DatasetRecord, root: Path) -> SweepRecord:
    """A sweep of one model that is there."""
    return RECORD.model_copy(
        update={
            "dataset": dataset,
            "baselines": obtain_baselines(dataset, {32}, root),
            "points": (obtain_point(RECORD.run, model, dataset, root),),
        }
    )


def test_a_model_is_measured_once(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = obtain_point("sweep-1", model, dataset, root)
    assert 0 < first.reconstruction_mse < 0.5
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
    assert finish_sweep(record.run, root) is None
    sweep = complete_sweep(record, root)
    assert finish_sweep(record.run, root) == sweep
    assert not building_sweep(record.run, root).samefile(root / "sweeps" / record.run)
    (root / "sweeps" / record.run / "models.csv").write_text("wrong")
    with pytest.raises(StepError, match=r"models\.csv is not what sweep\.json says"):
        finish_sweep(record.run, root)


def test_models_trained_into_another_folder_are_noticed(record: SweepRecord, root: Path) -> None:
    model = record.points[0].model
    (root / model.folder).rename(root / "elsewhere")
    with pytest.raises(StepError, match="all workers need this artifacts folder"):
        complete_sweep(record, root)
    assert not (root / "sweeps" / record.run).exists()
