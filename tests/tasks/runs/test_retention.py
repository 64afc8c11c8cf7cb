import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.codes.published import published_link, run_folder
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.encoding.stored_neighbors import NeighborsRecord
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.runs.building import run_in_progress
from tasks.runs.journal import Journal, read_journal
from tasks.runs.lookup import find_runs
from tasks.runs.publication import publish
from tasks.runs.retention import delete_old_runs
from tests.conftest import SAMPLE, complete
from tests.leftovers import make_old, store_copy

NOW, HOUR = timedelta(0), timedelta(hours=1)


def names(root: Path) -> list[str]:
    return [run.run for run in find_runs(root)]


@pytest.fixture
def four_runs(model: ModelRecord, dataset: DatasetRecord, root: Path) -> list[str]:
    runs = [f"run-{number}" for number in range(4)]
    for run in runs:
        complete(run, model, dataset, root)
    return runs


def test_the_newest_are_kept(four_runs: list[str], root: Path) -> None:
    delete_old_runs("run-3", SAMPLE.dataset, 2, NOW, root)
    assert names(root) == ["run-2", "run-3"]


def test_what_was_just_superseded_is_kept(four_runs: list[str], root: Path) -> None:
    delete_old_runs("run-3", SAMPLE.dataset, 1, HOUR, root)
    assert names(root) == four_runs


def test_grace_counts_from_the_moment_of_being_superseded(four_runs: list[str], root: Path) -> None:
    """An old run that was published until now stays; its age does not matter."""
    publish("run-0", root)
    publish("run-3", root)
    *earlier, last = read_journal(SAMPLE.dataset, root).publications
    earlier = [entry.model_copy(update={"time": entry.time - 2 * HOUR}) for entry in earlier]
    journal = Journal(publications=(*earlier, last))
    write_record(root / "publications" / f"{SAMPLE.dataset}.json", journal)
    delete_old_runs("run-3", SAMPLE.dataset, 1, HOUR, root)
    assert names(root) == ["run-0", "run-3"]


def test_what_is_published_is_kept_however_old(four_runs: list[str], root: Path) -> None:
    publish("run-0", root)
    delete_old_runs("run-3", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-0", "run-3"]


def test_runs_that_were_not_published_are_counted_apart(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-0", model, dataset, root)
    for number in range(3):
        complete(f"quick-{number}", model, dataset, root, settings=RunParameters(quick=True))
    delete_old_runs("quick-2", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-0", "quick-2"]


def test_another_dataset_s_runs_are_left_alone(
    four_runs: list[str], model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    other = dataset.model_copy(update={"name": "other"})
    complete("other-1", model, other, root)
    delete_old_runs("other-1", other.name, 1, NOW, root)
    assert names(root) == [*four_runs, "other-1"]


def test_a_run_that_just_finished_has_its_grace(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for number in range(3):
        complete(f"quick-{number}", model, dataset, root, settings=RunParameters(quick=True))
    delete_old_runs("quick-2", SAMPLE.dataset, 1, HOUR, root)
    assert names(root) == ["quick-0", "quick-1", "quick-2"]


def test_completing_a_run_applies_the_settings_of_the_deployment(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOENCODER_KEEP", "2")
    monkeypatch.setenv("AUTOENCODER_GRACE_HOURS", "0")
    for number in range(4):
        complete(f"run-{number}", model, dataset, root)
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
    delete_old_runs("run-3", SAMPLE.dataset, 1, NOW, root)
    assert all((stranger / "file").exists() for stranger in strangers)


def test_what_no_kept_run_needs_is_deleted_when_old(
    four_runs: list[str], model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    other = store_copy(model, "1" * 64, root)
    left_behind = [
        root / other.folder,
        root / "models" / ("f" * 64),
        root / "runs" / ".partial-run-9",
    ]
    (left_behind[1] / "checkpoints").mkdir(parents=True)
    left_behind[2].mkdir()
    delete_old_runs("run-3", SAMPLE.dataset, 5, HOUR, root)
    assert all(folder.exists() for folder in left_behind), "too young"
    for folder in left_behind:
        make_old(folder)
    delete_old_runs("run-3", SAMPLE.dataset, 5, HOUR, root)
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
    delete_old_runs("run-3", SAMPLE.dataset, 5, NOW, root)
    assert not unused.exists()
    assert (root / dataset.folder).exists()


def test_neighbours_go_with_their_run(four_runs: list[str], root: Path) -> None:
    for run in ("run-2", "run-3", "run-gone"):
        record = NeighborsRecord(run=run, same_class={}, codes_sha256={}, files=())
        write_record(root / "neighbors" / run / "neighbors.json", record)
        make_old(root / "neighbors" / run)
    young = root / "neighbors" / "run-young"
    write_record(
        young / "neighbors.json",
        NeighborsRecord(run=young.name, same_class={}, codes_sha256={}, files=()),
    )
    delete_old_runs("run-3", SAMPLE.dataset, 1, HOUR, root)
    assert sorted(path.name for path in (root / "neighbors").iterdir()) == [
        "run-2",
        "run-3",
        young.name,
    ]
    delete_old_runs("run-3", SAMPLE.dataset, 1, NOW, root)
    assert names(root) == ["run-3"]
    assert [path.name for path in (root / "neighbors").iterdir()] == ["run-3"]


def test_nothing_shared_is_deleted_while_another_run_is_in_progress(
    four_runs: list[str], root: Path
) -> None:
    leftover = root / "runs" / ".partial-run-9"
    leftover.mkdir()
    hold = (
        "import sys, time; from pathlib import Path; "
        "from tasks.runs.building import run_in_progress\n"
        "with run_in_progress('other', Path(sys.argv[1])): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", hold, str(root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        delete_old_runs("run-3", SAMPLE.dataset, 1, NOW, root)
        assert leftover.exists()
        assert names(root) == ["run-3"], "old runs need no such care: their readers have the grace"
        other.communicate("\n")
    with run_in_progress("run-3", root):
        delete_old_runs("run-3", SAMPLE.dataset, 1, NOW, root)
    assert not leftover.exists()
    assert [path.name for path in (root / "locks").glob("run-*")] == ["run-run-3.lock"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("runs/run-0/manifest.json", "{"),
        ("runs/run-0/manifest.json", '{"dataset": {"folder": "datasets/a"}}'),
        ("sweeps/sweep-0/sweep.json", "{}"),
    ],
)
def test_nothing_shared_is_deleted_while_a_record_cannot_be_read(
    path: str,
    content: str,
    four_runs: list[str],
    dataset: DatasetRecord,
    root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it needs is unknown."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)
    unused = root / "datasets" / "unused-000000000000"
    record = dataset.model_copy(update={"folder": f"datasets/{unused.name}"})
    write_record(unused / "dataset.json", record)
    delete_old_runs("run-3", SAMPLE.dataset, 5, NOW, root)
    assert unused.exists()
    assert f"Skipped the clean-up: {root / path} is damaged" in caplog.text
    shutil.rmtree((root / path).parent)
    delete_old_runs("run-3", SAMPLE.dataset, 5, NOW, root)
    assert not unused.exists()


def test_runs_of_later_versions_keep_what_they_need(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """Their manifests may have more fields."""
    complete("run-0", model, dataset, root)
    path = run_folder("run-0", root) / "manifest.json"
    path.write_text(path.read_text().replace("{", '{"new": 1,', 1))
    delete_old_runs("run-1", SAMPLE.dataset, 5, NOW, root)
    assert (root / model.folder).exists()
    assert (root / dataset.folder).exists()
