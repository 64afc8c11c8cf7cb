"""When which codes of a dataset were published, and whether they changed since.

Whatever is missing or damaged raises `CodesError`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import CodesError
from .published import artifacts_folder, published_link


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
    root = artifacts_folder(root)
    link = published_link(dataset, root)
    path = root / "publications" / f"{dataset}.json"
    try:
        current = link.readlink().name
        entries = json.loads(path.read_bytes())["publications"]
        found = [_read_entry(entry) for entry in entries]
    except OSError as error:
        raise CodesError(f"{error.filename} cannot be read ({error.strerror})") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CodesError(f"{path} is not a journal of publications: {error!r}") from None
    if not found or found[-1].run != current:  # switched, but not recorded yet
        switched = datetime.fromtimestamp(link.lstat().st_mtime, UTC)
        found.append(Publication(current, switched, {}))
    return tuple(found)


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
