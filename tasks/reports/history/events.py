"""The history of a dataset: what happened, whether results are fresh, how quality moves.

From the journal alone, so that runs that were deleted are still in it.
"""

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tasks.codes.errors import CodesError
from tasks.codes.provenance import short_basis
from tasks.codes.publications import confirmed_at, read_publications
from tasks.codes.published import run_folder
from tasks.core.settings import read_settings
from tasks.reports.metrics_table import LOWER, compare
from tasks.reports.report import HTML_FILE
from tasks.runs.journal import Journal, RunSummary, read_journal

NOTHING = "-"
PUBLISHED_AGAIN = "published again"


class ModelRow(NamedTuple):
    """A model of a run, as text."""

    name: str
    loss: str
    accuracy: str
    dimension: str
    basis: str
    kept: str


class Event(NamedTuple):
    """A run that ended, or a person who published one again."""

    time: datetime
    run: str
    outcome: str
    """`published`, `refused`, `quick look` or `published again`."""
    text: str
    models: tuple[ModelRow, ...] = ()
    minutes: str = ""
    """From start to end."""
    processor: str = ""
    """Minutes of processor time."""
    memory: str = ""
    """Most memory of a step."""
    report: str | None = None
    """Path of the run's report, relative to the artifacts folder; none if it was deleted."""


class History(NamedTuple):
    """All that a page shows of a dataset."""

    dataset: str
    published: str | None
    """The run that readers get; none if nothing is published."""
    confirmed: datetime | None
    """When it was last known to be up to date."""
    overdue: datetime | None
    """When it will be, or was, overdue without another confirmation."""
    trend: list[str]
    """How quality moved with the last publication, a sentence for each model."""
    previous: str | None
    """The newest published run that is still kept, and that a person can go back to."""
    hours: str
    """Processor hours of all runs that were measured."""
    events: tuple[Event, ...]
    """Newest first."""
    runs: tuple[RunSummary, ...]
    """Oldest first."""


def list_datasets(root: Path) -> list[str]:
    """The datasets that have a journal, sorted."""
    return sorted(path.stem for path in (root / "publications").glob("[!.]*.json"))


def read_history(dataset: str, root: Path) -> History:
    """Read the history of a dataset.

    Raises:
        StepError: its journal is damaged.
    """
    journal = read_journal(dataset, root)
    published, confirmed = _read_published(dataset, root)
    return History(
        dataset=dataset,
        published=published,
        confirmed=confirmed,
        overdue=confirmed + read_settings().max_age if confirmed else None,
        trend=_describe_trend(journal),
        previous=_find_previous(journal, published, root),
        hours=f"{sum(run.processor_seconds or 0 for run in journal.runs) / 3600:.2f}",
        events=tuple(sorted(_list_events(journal, root), reverse=True)),
        runs=journal.runs,
    )


def _read_published(dataset: str, root: Path) -> tuple[str | None, datetime | None]:
    try:
        return read_publications(dataset, root)[-1].run, confirmed_at(dataset, root)
    except CodesError:
        return None, None


def _find_previous(journal: Journal, published: str | None, root: Path) -> str | None:
    names = [entry.run for entry in reversed(journal.publications)]
    kept = (run for run in names if run != published and run_folder(run, root).exists())
    return next(kept, None)


def _list_events(journal: Journal, root: Path) -> list[Event]:
    events = [_describe_run(run, root) for run in journal.runs]
    seen: set[str] = set()
    outcomes = {run.run: run.outcome for run in journal.runs}
    for entry in journal.publications:
        if entry.run in seen or outcomes.get(entry.run, "published") != "published":
            text = "A person published this run."
            report = _find_report(entry.run, root)
            events.append(Event(entry.time, entry.run, PUBLISHED_AGAIN, text, report=report))
        seen.add(entry.run)
    return events


def _describe_run(run: RunSummary, root: Path) -> Event:
    models = []
    for name, model in run.models.items():
        models.append(
            ModelRow(
                name=name,
                loss=f"{model.validation_loss:.4f}",
                accuracy=NOTHING if model.nearest_5 is None else f"{model.nearest_5:.2%}",
                dimension=f"{model.effective_dimension:.1f} of {model.code_size}",
                basis=short_basis(model.basis) if model.basis else NOTHING,
                kept="defines it" if model.own_nearest is None else f"{model.own_nearest:.2%}",
            )
        )
    text = run.reason
    if run.drift and run.drift.mean_shift is not None:
        text += f" Training images moved by {run.drift.mean_shift:.2f} standard deviations."
    return Event(
        time=run.finished,
        run=run.run,
        outcome=run.outcome,
        text=text,
        models=tuple(models),
        minutes=f"{(run.finished - run.started).total_seconds() / 60:.1f}",
        processor=f"{run.processor_seconds / 60:.1f}" if run.processor_seconds else NOTHING,
        memory=f"{run.peak_bytes / 2**30:.2f} GiB" if run.peak_bytes else NOTHING,
        report=_find_report(run.run, root),
    )


def _find_report(run: str, root: Path) -> str | None:
    path = run_folder(run, root) / HTML_FILE
    return path.relative_to(root).as_posix() if path.exists() else None


def _describe_trend(journal: Journal) -> list[str]:
    """The last two publications of different runs compared, model by model."""
    runs = {run.run: run for run in journal.runs}
    names = [entry.run for entry in journal.publications if entry.run in runs]
    changes = [(earlier, later) for earlier, later in pairwise(names) if earlier != later]
    if not changes:
        return []
    before, now = (runs[name].models for name in changes[-1])
    return [
        f"{name}: loss {loss:.4f}, "
        + compare(loss, before[name].validation_loss, ".4f", LOWER, "the run before").text
        for name, loss in ((name, model.validation_loss) for name, model in now.items())
        if name in before
    ]
