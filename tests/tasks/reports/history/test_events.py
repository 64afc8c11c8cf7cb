from pathlib import Path

from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.reports.history.events import list_datasets, read_history
from tasks.runs.journal import Journal
from tasks.runs.publication import publish
from tests.conftest import METRICS, complete
from tests.tasks.reports.history.example import SUNDAY, WEEK, publication, run, write_journal


def test_a_history_tells_what_readers_get_and_until_when_it_is_fresh(root: Path) -> None:
    runs = (run(0, 0.27), run(1, 0.2684))
    journal = Journal(publications=tuple(map(publication, runs)), runs=runs)
    write_journal(journal.model_copy(update={"confirmed": SUNDAY + 2 * WEEK}), root)
    history = read_history("boots", root)
    assert history.published == runs[1].run
    assert history.confirmed == SUNDAY + 2 * WEEK
    assert history.overdue is not None
    assert (history.overdue - SUNDAY).days == 14 + 8
    assert history.trend == ["deep: loss 0.2684, 0.0016 better than the run before"]
    assert history.hours == "0.05"


def test_events_are_listed_newest_first_with_rollbacks_between_runs(root: Path) -> None:
    runs = (run(0, 0.27), run(1, 0.29, "refused", "deep: too high"), run(2, 0.28))
    entries = (publication(runs[0]), publication(runs[2]), publication(runs[0], 2.5 * WEEK))
    write_journal(Journal(publications=entries, runs=runs), root)
    events = read_history("boots", root).events
    assert [(event.run[:8], event.outcome) for event in events] == [
        ("00000000", "published again"),
        ("00000002", "published"),
        ("00000001", "refused"),
        ("00000000", "published"),
    ]
    assert events[2].text == "deep: too high"
    assert events[1].minutes == "3.0"
    assert (events[1].processor, events[1].memory) == ("1.5", "1.50 GiB")
    assert events[1].models[0].loss == "0.2800"


def test_a_refused_run_that_a_person_published_is_told(root: Path) -> None:
    refused = run(0, 0.29, "refused")
    write_journal(Journal(publications=(publication(refused),), runs=(refused,)), root)
    outcomes = [event.outcome for event in read_history("boots", root).events]
    assert outcomes == ["published again", "refused"]


def test_runs_stay_in_the_history_when_they_are_deleted(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for number in range(3):
        complete(f"run-{number}", model, dataset, root)
    assert run_folder("run-2", root).exists()
    folder = run_folder("run-0", root)
    folder.rename(root / "elsewhere")
    history = read_history(dataset.name, root)
    assert [event.run for event in history.events] == ["run-2", "run-1", "run-0"]
    assert [event.report for event in history.events] == [
        "runs/run-2/report.html",
        "runs/run-1/report.html",
        None,
    ]
    assert history.events[2].models[0].loss == f"{METRICS.validation_loss:.4f}"
    assert history.previous == "run-1"
    publish("run-1", root)
    assert read_history(dataset.name, root).previous == "run-2"


def test_every_dataset_with_a_journal_is_listed(root: Path) -> None:
    write_journal(Journal(), root, "boots")
    write_journal(Journal(), root, "fashion-mnist")
    assert list_datasets(root) == ["boots", "fashion-mnist"]
    assert read_history("boots", root).published is None
