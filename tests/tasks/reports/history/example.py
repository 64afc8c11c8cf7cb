"""Journals as years of runs leave them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.core.storage import write_record
from tasks.runs.journal import Journal, ModelSummary, Publication, RunSummary
from tasks.runs.manifest import VerdictOutcome

SUNDAY = datetime(2026, 6, 7, 3, tzinfo=UTC)
WEEK = timedelta(weeks=1)


def run(
    number: int,
    loss: float,
    outcome: VerdictOutcome = "published",
    reason: str = "All checks passed.",
    accuracy: float | None = 0.871,
) -> RunSummary:
    """The run of a week, with a deep model, three minutes long."""
    model = ModelSummary(
        validation_loss=loss,
        nearest_5=accuracy,
        effective_dimension=28.2,
        code_size=32,
        basis="ab" * 32,
        own_nearest=0.998 if number else None,
        seconds=30.0,
    )
    finished = SUNDAY + number * WEEK
    return RunSummary(
        run=f"{number:08d}-aaaa",
        started=finished - timedelta(minutes=3),
        finished=finished,
        outcome=outcome,
        reason=reason,
        models={"deep": model},
        drift=None,
        processor_seconds=90.0,
        peak_bytes=3 * 2**29,
    )


def publication(run: RunSummary, later: timedelta = timedelta(seconds=1)) -> Publication:
    """Of a run, so long after it had finished."""
    return Publication(run=run.run, time=run.finished + later)


def write_journal(journal: Journal, root: Path, dataset: str = "boots") -> None:
    """Leave a journal, and the link to the run that was published last."""
    write_record(root / "publications" / f"{dataset}.json", journal)
    if journal.publications:
        link = root / "published" / dataset
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../runs/{journal.publications[-1].run}")
