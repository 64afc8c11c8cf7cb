"""The journal of a dataset: which run was published when. Written under the publication lock."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from tasks.core.errors import StepError
from tasks.core.records import CodesSha256, Record
from tasks.core.storage import write_record


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


class Journal(Record):
    """All publications of one dataset, oldest first; those of deleted runs stay."""

    publications: tuple[Publication, ...] = ()
    confirmed: datetime | None = Field(
        None, description="when a run last found that it would only repeat the published one"
    )
    retired: tuple[str, ...] = Field(
        (), description="runs with whose losses the quality gate compares no later run"
    )


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
