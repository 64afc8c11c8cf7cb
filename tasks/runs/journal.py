"""The journal of a dataset: which run was published when. Written under the publication lock."""

from datetime import UTC, datetime
from pathlib import Path

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


class Journal(Record):
    """All publications of one dataset, oldest first; those of deleted runs stay."""

    publications: tuple[Publication, ...] = ()


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
    run: str, dataset: str, root: Path, current: str | None, codes_sha256: CodesSha256
) -> None:
    """Record that a run is published, just before the link is switched to it.

    Args:
        current: the run that the link leads to. Later entries of the journal are removed: their
            processes were killed before the switch.
        codes_sha256: of the run's codes; empty if they are not known.
    """
    now = datetime.now(UTC)
    publications = list(read_journal(dataset, root).publications)
    while publications and publications[-1].run != current:
        publications.pop()
    if current is not None and not publications:  # the journal was lost
        publications.append(Publication(run=current, time=now))
    if current != run:
        publications.append(Publication(run=run, time=now, codes_sha256=codes_sha256))
    write_record(_path(dataset, root), Journal(publications=tuple(publications)))


def superseded_at(run: str, dataset: str, root: Path) -> datetime | None:
    """When another run was published after this one; none if that never happened."""
    after = None
    for publication in reversed(read_journal(dataset, root).publications):
        if publication.run == run:
            return after
        after = publication.time
    return None
