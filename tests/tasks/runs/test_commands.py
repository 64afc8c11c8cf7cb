"""`python -m tasks.runs`."""

from pathlib import Path

import pytest

from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.__main__ import main as runs_main
from tasks.runs.manifest import published_link, read_manifest, run_folder
from tests.conftest import METRICS, complete

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def codes(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Path:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    return run_folder("run-1", root) / "codes" / "test.h5"


def test_runs_are_listed_with_verdicts_and_losses(codes: Path, capsys: Captured) -> None:
    assert runs_main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (first,) = (line for line in lines if "run-1" in line)
    (second,) = (line for line in lines if "run-2" in line)
    assert "shallow 0.3000" in first
    assert "superseded" in first
    assert second.split()[-1] == "published"


def test_a_list_of_80_columns_shows_all_that_it_has(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    """Names as the flow gives them, and a second dataset; what is shown of a name is enough."""
    runs = [f"5642a5a{number}-1f55-4ac4-93bc-a6869936543a" for number in range(2)]
    other = dataset.model_copy(update={"name": "a-dataset-with-quite-a-long-name"})
    worse = METRICS.model_copy(update={"validation_loss": 0.4})
    for run in runs:
        complete(run, model, dataset, root)
    complete("0b3d", model, other, root)
    complete("77c1", model, dataset, root, worse)
    assert runs_main(["list"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for word in (dataset.name, other.name, "superseded", "refused", "shallow 0.4000"):
        assert word in shown
    first = read_manifest(run_folder(runs[0], root))
    (line,) = (line for line in shown.splitlines() if "5642a5a0" in line)
    assert f"{first.finished:%Y-%m-%d %H:%M}" in line
    assert "shallow 0.3000" in line
    assert runs_main(["publish", "5642a5a0"]) == 0


def test_a_run_is_published_by_the_start_of_its_name(
    codes: Path, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    assert runs_main(["publish", "run-1"]) == 0
    assert published_link(dataset.name, root).resolve().name == "run-1"
    assert runs_main(["publish", "run"]) == 1
    assert "2 runs have names that begin with 'run'" in capsys.readouterr().err
    assert runs_main(["publish", "../runs/run-2"]) == 1
    assert published_link(dataset.name, root).resolve().name == "run-1"
