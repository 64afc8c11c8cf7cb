import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from tasks.codes.published import published_link, run_folder
from tasks.core.errors import command
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.reports.__main__ import main as report
from tasks.runs.__main__ import main
from tasks.runs.journal import Journal, read_journal
from tasks.runs.manifest import read_manifest
from tasks.runs.outbox import confirm
from tasks.stores import store as stores
from tasks.stores.pointer import read_pointer
from tasks.stores.store import Store
from tests.approval import answer, complete_waiting, settle_with
from tests.conftest import METRICS, complete

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def two_runs(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)


def test_an_artifacts_folder_without_runs_is_named(root: Path, capsys: Captured) -> None:
    assert main(["list"]) == 0
    assert f"No runs in {root}" in capsys.readouterr().out
    for verb in ("publish", "retire"):
        assert main([verb, "run-1"]) == 1
        assert str(root) in capsys.readouterr().err


@pytest.mark.parametrize(
    "run", [lambda: main(["list"]), lambda: main(["publish", "x"]), lambda: report(["x"])]
)
def test_an_artifacts_folder_that_is_missing_is_named_and_not_made(
    run: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    absent = tmp_path / "absent"
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(absent))
    assert run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"There is no artifacts folder {absent}: ")
    assert "AUTOENCODER_ARTIFACTS" in line
    assert not absent.exists()


def test_runs_are_listed_with_verdicts_and_losses(two_runs: None, capsys: Captured) -> None:
    assert main(["list"]) == 0
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
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for word in (dataset.name, other.name, "superseded", "refused", "shallow 0.4000"):
        assert word in shown
    first = read_manifest(run_folder(runs[0], root))
    lines = shown.splitlines()
    (row,) = (row for row, line in enumerate(lines) if "5642a5a0" in line)
    assert f"{first.title.removeprefix(f'{dataset.name}-')} " in lines[row]
    assert "shallow 0.3000" in lines[row]
    assert f" {first.finished:%Y-%m-%d %H:%M} " in lines[row + 1]
    assert main(["publish", first.title]) == 0
    assert main(["publish", "5642a5a0"]) == 0


def test_a_run_is_published_by_the_start_of_its_name(
    two_runs: None, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    assert main(["publish", "run-1"]) == 0
    assert published_link(dataset.name, root).resolve().name == "run-1"
    assert main(["publish", "run"]) == 1
    assert "2 runs start with 'run': run-1, run-2. Type more" in capsys.readouterr().err
    assert main(["publish", "../runs/run-2"]) == 1
    listing = command("tasks.runs list")
    expected = f"No run starts with '../runs/run-2' in {root}. List them: {listing}"
    assert capsys.readouterr().err == f"{expected}\n"
    assert published_link(dataset.name, root).resolve().name == "run-1"


def test_a_retired_rival_sets_no_limit_any_more(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    """Also one that was deleted. Until then every usual run is refused."""
    for run, loss in (("lucky", 0.25), ("second", 0.2504)):
        changed = METRICS.model_copy(update={"validation_loss": loss})
        assert complete(run, model, dataset, root, changed).verdict.published
    shutil.rmtree(run_folder("lucky", root))
    assert "in run lucky" in complete("usual-1", model, dataset, root).verdict.reason
    assert main(["retire", "unknown"]) == 1
    expected = f"0 runs that later ones are compared with start with 'unknown' in {root}, expected "
    assert capsys.readouterr().err == f"{expected}one of lucky, second\n"
    assert main(["retire", "luck"]) == 0
    assert "Retired run lucky: no later run of " in capsys.readouterr().out
    assert "in run second" in complete("usual-2", model, dataset, root).verdict.reason
    assert main(["retire", "second"]) == 0
    assert complete("usual-3", model, dataset, root).verdict.published
    assert read_journal(dataset.name, root).retired == ("lucky", "second")


def test_the_list_tells_what_a_person_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    bad = METRICS.model_copy(update={"reconstruction_mse": 9.0})
    anyway = RunParameters(publish_anyway=True)
    complete("forced", model, dataset, root, bad, settings=anyway)
    complete("refused-1", model, dataset, root, bad)
    assert main(["publish", "refused-1", "--anyway"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert "anyway" in words
    assert words[-3:] == ["by", "a", "person"]


@pytest.mark.parametrize(
    ("decision", "shown"),
    [
        ("publish", "published by a person"),
        ("refuse", "refused by a person"),
        ("time-out", "refused no answer"),
    ],
)
def test_the_list_tells_what_a_person_decided(
    decision: str,
    shown: str,
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOENCODER_APPROVAL_TOLERANCE", "0.005")
    waiting = complete_waiting(model, dataset, root)
    settle_with(waiting, answer(waiting, decision), root)
    capsys.readouterr()
    assert main(["list"]) == 0
    first, second = capsys.readouterr().out.splitlines()[-3:-1]
    assert set(shown.split()) <= {*first.split(), *second.split()}


def test_a_quick_look_is_published_only_with_anyway(
    two_runs: None, model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    complete("quick-1", model, dataset, root, settings=RunParameters(quick=True))
    assert main(["publish", "quick"]) == 1
    assert "Quick look: not published. Add --anyway to publish quick-1" in capsys.readouterr().err
    assert published_link(dataset.name, root).resolve().name == "run-2"
    assert main(["publish", "quick", "--anyway"]) == 0
    assert capsys.readouterr().out == (
        f"Published run quick-1 as {published_link(dataset.name, root)}; the next "
        "run announces it in Prefect\n"
    )
    assert published_link(dataset.name, root).resolve().name == "quick-1"


def let_pass(days: float, dataset: str, root: Path) -> None:
    """As if what is published had been published so many days earlier."""
    path = root / "publications" / f"{dataset}.json"
    journal = Journal.model_validate_json(path.read_bytes())
    earlier = timedelta(days=days)
    entries = [
        entry.model_copy(update={"time": entry.time - earlier}) for entry in journal.publications
    ]
    path.write_text(journal.model_copy(update={"publications": tuple(entries)}).model_dump_json())


def test_a_monitor_learns_by_the_exit_code_whether_results_are_overdue(
    two_runs: None, dataset: DatasetRecord, root: Path, capsys: Captured
) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == (
        f"{dataset.name} is fresh: confirmed 0 minutes ago, at most 8 days allowed\n"
    )
    let_pass(9, dataset.name, root)
    assert main(["check", dataset.name]) == 1
    assert "was last confirmed 9 days ago" in capsys.readouterr().err
    main(["list"])
    assert "overdue: confirmed 9 days ago, at most 8 days allowed" in capsys.readouterr().out
    assert confirm(read_manifest(run_folder("run-2", root)), root)
    assert main(["check"]) == 0


def test_how_old_results_may_be_is_a_setting(
    two_runs: None, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pass(0.5, dataset.name, root)
    monkeypatch.setenv("AUTOENCODER_MAX_AGE_HOURS", "13")
    assert main(["check"]) == 0
    monkeypatch.setenv("AUTOENCODER_MAX_AGE_HOURS", "11")
    assert main(["check"]) == 1


def test_what_was_never_published_is_not_fresh(root: Path, capsys: Captured) -> None:
    assert main(["check"]) == 1
    assert f"Nothing is published in {root}" in capsys.readouterr().err
    assert main(["check", "boots"]) == 1
    assert "boots" in capsys.readouterr().err


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The store of `AUTOENCODER_PUBLISH_TO`, in memory."""
    objects = MemoryStore()
    monkeypatch.setenv("AUTOENCODER_PUBLISH_TO", "s3://bucket/prefix")
    monkeypatch.setattr(stores, "open_store", lambda address: objects)
    return objects


def test_what_is_published_is_copied_to_the_object_store(
    two_runs: None, dataset: DatasetRecord, objects: MemoryStore, capsys: Captured
) -> None:
    store = Store(objects, "s3://bucket/prefix")
    assert main(["copy"]) == 0
    assert capsys.readouterr().out == f"s3://bucket/prefix has run run-2 of {dataset.name}\n"
    assert main(["publish", "run-1"]) == 0
    assert "s3://bucket/prefix has run run-1" in capsys.readouterr().out
    found = read_pointer(dataset.name, store)
    assert found is not None
    assert found.pointer.run == "run-1"
    assert main(["copy", "absent"]) == 1
    assert capsys.readouterr().err.startswith("No run of absent is published in ")


def test_copying_needs_the_address_of_a_store(two_runs: None, capsys: Captured) -> None:
    assert main(["copy"]) == 1
    assert "AUTOENCODER_PUBLISH_TO" in capsys.readouterr().err


def test_a_rollback_stays_published_where_the_store_refuses_it(
    two_runs: None, dataset: DatasetRecord, root: Path, objects: MemoryStore, capsys: Captured
) -> None:
    objects.put(f"published/{dataset.name}.json", b"damaged")
    assert main(["publish", "run-1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is damaged" in line
    assert "-m tasks.runs copy" in line
    assert published_link(dataset.name, root).resolve().name == "run-1"
