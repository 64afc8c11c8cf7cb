"""When which codes of a dataset were published or confirmed, and whether they changed since.

Whatever is missing or damaged raises `CodesError`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .errors import CodesError
from .published import artifacts_folder, published_link, remote_address


@dataclass(frozen=True)
class Publication:
    """One publication of a run."""

    run: str
    time: datetime
    """With its time zone."""
    codes_sha256: dict[str, dict[str, str]]
    """SHA-256 of the codes, by model and split; empty if published by version 0.1.0 or just now."""


def read_publications(dataset: str, root: Path | str | None = None) -> tuple[Publication, ...]:
    """All publications of a dataset, oldest first; runs that were deleted since are among them.

    Args:
        root: the artifacts folder; by default `artifacts_folder()`.

    Raises:
        CodesError: nothing is published, or the journal cannot be used.
    """
    return _read_journal(dataset, artifacts_folder(root))[0]


def confirmed_at(dataset: str, root: Path | str | None = None) -> datetime:
    """When what is published was last known to be up to date, with its time zone.

    That is when it was published, or when a later run found that it would only repeat it.

    Args:
        root: as above, or the address of an object store.

    Raises:
        CodesError: as above.
    """
    if address := remote_address(root):
        from .remote.published import remote_confirmed_at  # it needs obstore

        return remote_confirmed_at(dataset, address)
    publications, confirmed = _read_journal(dataset, artifacts_folder(root))
    published = publications[-1].time
    return max(confirmed, published) if confirmed else published


def check_age(dataset: str, max_age: timedelta, root: Path | str | None = None) -> timedelta:
    """Check that what is published was confirmed recently; return how long ago.

    Args:
        root: as above, or the address of an object store.

    Raises:
        CodesError: it was not; or as above.
    """
    return check_confirmed(dataset, confirmed_at(dataset, root), max_age)


def check_confirmed(dataset: str, confirmed: datetime, max_age: timedelta) -> timedelta:
    """Check that what was confirmed at a time is not too old; return how long ago that was.

    Raises:
        CodesError: it is.
    """
    age = datetime.now(UTC) - confirmed
    if age > max_age:
        raise CodesError(
            f"The published run of {dataset} was last confirmed {describe_age(age)} ago, on "
            f"{confirmed:%Y-%m-%d %H:%M} {confirmed.tzname()}, expected at most "
            f"{describe_age(max_age)}: run the flow again, or find out why it did not run"
        )
    return age


def describe_age(age: timedelta) -> str:
    """An age in its largest whole unit, down to minutes."""
    for unit, size in (("days", timedelta(days=1)), ("hours", timedelta(hours=1))):
        if age >= 2 * size:
            return f"{age // size} {unit}"
    return f"{age // timedelta(minutes=1)} minutes"


def _read_journal(dataset: str, root: Path) -> tuple[tuple[Publication, ...], datetime | None]:
    """All publications, and when the last one was confirmed; none if that never happened."""
    link = published_link(dataset, root)
    path = root / "publications" / f"{dataset}.json"
    try:
        current = link.readlink().name
        journal = json.loads(path.read_bytes())
        found = [_read_entry(entry) for entry in journal["publications"]]
        confirmed = journal.get("confirmed")
        confirmed = datetime.fromisoformat(confirmed) if confirmed else None
    except OSError as error:
        raise CodesError(f"{error.filename} cannot be read ({error.strerror})") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CodesError(f"{path} is not a journal of publications: {error!r}") from None
    if not found or found[-1].run != current:  # switched, but not recorded yet
        switched = datetime.fromtimestamp(link.lstat().st_mtime, UTC)
        found.append(Publication(current, switched, {}))
    return tuple(found), confirmed


def _read_entry(entry: dict[str, Any]) -> Publication:
    time = datetime.fromisoformat(entry["time"])
    return Publication(str(entry["run"]), time, dict(entry.get("codes_sha256", {})))


def changed_models(
    dataset: str, since: datetime, root: Path | str | None = None
) -> tuple[str, ...]:
    """The models whose published codes are not those that were published at a time, sorted.

    Also those that only one of the two runs has, and those whose earlier codes are not known.

    Args:
        since: without a time zone it is local time.
        root: as above.

    Raises:
        CodesError: as above.
    """
    publications = read_publications(dataset, root)
    earlier = [entry for entry in publications if entry.time <= since.astimezone()]
    before, now = (
        entries[-1].codes_sha256 if entries else {} for entries in (earlier, publications)
    )
    return tuple(
        name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)
    )
