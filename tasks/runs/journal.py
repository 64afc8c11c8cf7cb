"""The journal of a dataset: its runs, and which was published when.

Written under the publication lock. It stays when runs are deleted.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tasks.core.errors import StepError
from tasks.core.records import CodesSha256, Record, Sha256
from tasks.core.storage import write_record
from tasks.runs.manifest import Drift, Manifest, VerdictOutcome


class Publication(Record):
    """One switch of the published link."""

    run: str
    time: datetime
    codes_sha256: CodesSha256 = Field(
        {}, description="as in the manifest; empty if published by version 0.1.0"
    )
    announced: bool = Field(
        True, description="whether Prefect accepted its event; version 0.1.0 did not record it"
    )


class ModelSummary(Record):
    """A model of a run, as in its manifest."""

    validation_loss: float = Field(description="binary cross-entropy per pixel, nats")
    nearest_5: float | None = Field(
        description="accuracy of five nearest neighbours; null without labels"
    )
    effective_dimension: float
    code_size: int
    basis: Sha256 | None
    own_nearest: float | None = Field(
        description="how well an anchored model keeps its basis; null for one that defines it"
    )
    seconds: float = Field(description="of training; those of an earlier run if it was reused")


class RunSummary(Record):
    """What the journal keeps of a finished run, published or not."""

    run: str
    started: datetime
    finished: datetime
    outcome: VerdictOutcome
    reason: str
    models: dict[str, ModelSummary]
    drift: Drift | None
    processor_seconds: float | None = Field(
        None, description="of all steps before publication; null if they were not measured"
    )
    peak_bytes: int | None = Field(None, description="most memory of a step; null as above")


class Journal(Record):
    """The history of one dataset, oldest first; that of deleted runs stays."""

    publications: tuple[Publication, ...] = ()
    runs: tuple[RunSummary, ...] = Field(
        (), description="version 0.1.0 recorded none; those still kept are added"
    )
    confirmed: datetime | None = Field(
        None, description="when a run last found that it would only repeat the published one"
    )
    retired: tuple[str, ...] = Field(
        (), description="runs with whose losses the quality gate compares no later run"
    )

    @property
    def last_run(self) -> str | None:
        """The run that was published last; None if there was none."""
        return self.publications[-1].run if self.publications else None


def _path(dataset: str, root: Path) -> Path:
    return root / "publications" / f"{dataset}.json"


def read_journal(dataset: str, root: Path) -> Journal:
    """Read the journal of a dataset; it is empty if nothing was published.

    Raises:
        StepError: it is damaged.
    """
    path = _path(dataset, root)
    try:
        return Journal.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Journal()
    except ValidationError:
        raise StepError(
            f"{path} is damaged: remove it; superseded runs then lose their grace period"
        ) from None


def record_publication(
    run: str, dataset: str, root: Path, codes_sha256: CodesSha256, time: datetime | None = None
) -> None:
    """Record that the link was switched to a run, unless that is the last entry.

    Args:
        codes_sha256: of the run's codes; empty if they are not known.
        time: of the switch; now by default.
    """
    journal = read_journal(dataset, root)
    if journal.publications and journal.publications[-1].run == run:
        return
    entry = Publication(
        run=run, time=time or datetime.now(UTC), codes_sha256=codes_sha256, announced=False
    )
    _write(journal, dataset, root, publications=(*journal.publications, entry))


def mark_announced(run: str, dataset: str, root: Path) -> None:
    """Record that the last publication was announced, if it is that of the run."""
    journal = read_journal(dataset, root)
    publications = journal.publications
    if publications and publications[-1].run == run:
        last = publications[-1].model_copy(update={"announced": True})
        _write(journal, dataset, root, publications=(*publications[:-1], last))


def record_runs(manifests: Iterable[Manifest], dataset: str, root: Path) -> None:
    """Record the finished runs of a dataset that the journal lacks."""
    journal = read_journal(dataset, root)
    recorded = {summary.run for summary in journal.runs}
    new = [summarize(manifest) for manifest in manifests if manifest.run not in recorded]
    if new:
        runs = sorted((*journal.runs, *new), key=lambda summary: summary.finished)
        _write(journal, dataset, root, runs=tuple(runs))


def summarize(manifest: Manifest) -> RunSummary:
    """What the journal keeps of a run."""
    models = {}
    for model in manifest.models:
        found = manifest.metrics[model.name]
        models[model.name] = ModelSummary(
            validation_loss=found.validation_loss,
            nearest_5=found.probes.nearest_5 if found.probes else None,
            effective_dimension=found.effective_dimension,
            code_size=found.code_size,
            basis=model.basis,
            own_nearest=found.kept_basis.own_nearest if found.kept_basis else None,
            seconds=model.seconds,
        )
    verdict = manifest.verdict
    return RunSummary(
        run=manifest.run,
        started=manifest.started,
        finished=manifest.finished,
        outcome=verdict.outcome,
        reason=verdict.reason,
        models=models,
        drift=manifest.drift,
        processor_seconds=sum(cost.processor_seconds for cost in manifest.costs) or None,
        peak_bytes=max((cost.peak_bytes or 0 for cost in manifest.costs), default=0) or None,
    )


def record_confirmation(dataset: str, root: Path) -> None:
    """Record that what is published is up to date."""
    _write(read_journal(dataset, root), dataset, root, confirmed=datetime.now(UTC))


def record_retirement(run: str, dataset: str, root: Path) -> None:
    """Record that the losses of a run count no more."""
    journal = read_journal(dataset, root)
    retired = dict.fromkeys((*journal.retired, run))
    _write(journal, dataset, root, retired=tuple(retired))


def _write(journal: Journal, dataset: str, root: Path, **changes: Any) -> None:
    write_record(_path(dataset, root), journal.model_copy(update=changes))


def superseded_at(run: str, dataset: str, root: Path) -> datetime | None:
    """When another run was published after this one; none if that never happened."""
    after = None
    for publication in reversed(read_journal(dataset, root).publications):
        if publication.run == run:
            return after
        after = publication.time
    return None
