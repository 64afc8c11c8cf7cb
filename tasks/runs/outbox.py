"""What was published and is not announced yet; it survives the process that published it.

The link is switched first, then the switch is recorded in the journal, then it is announced, and
copied to an object store where there is one (`tasks.stores`).
Whoever comes next catches up on what a killed process, or a person at a terminal, left undone.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

from tasks.codes.published import published_link
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.runs.building import PUBLICATION_LOCK
from tasks.runs.journal import (
    Journal,
    mark_announced,
    read_journal,
    record_confirmation,
    record_publication,
)
from tasks.runs.lookup import find_published, published_run
from tasks.runs.manifest import Manifest

logger = logging.getLogger(__name__)


def record_missed(dataset: str, root: Path) -> None:
    """Record a switch that the journal lacks; the caller holds the publication lock.

    Its process was killed, or the journal or the link was restored from a copy.
    """
    current = published_run(dataset, root)
    recorded = [entry.run for entry in read_journal(dataset, root).publications]
    if current is None or recorded[-1:] == [current]:
        return
    switched = datetime.fromtimestamp(published_link(dataset, root).lstat().st_mtime, UTC)
    manifest = _read_published(dataset, root)
    codes = manifest.codes_sha256 if manifest else {}
    record_publication(current, dataset, root, codes, switched)


def read_recorded(dataset: str, root: Path) -> Journal:
    """The journal, with a switch that it lacked."""
    with lock(PUBLICATION_LOCK, root):
        record_missed(dataset, root)
        return read_journal(dataset, root)


def find_unannounced(dataset: str, root: Path) -> Manifest | None:
    """The published run if its publication was not announced; superseded ones never are."""
    with lock(PUBLICATION_LOCK, root):
        record_missed(dataset, root)
        last = read_journal(dataset, root).publications[-1:]
        if not last or last[0].announced:
            return None
        return _read_published(dataset, root)


def record_announcement(manifest: Manifest, root: Path) -> None:
    """Record that the publication of a run was announced."""
    with lock(PUBLICATION_LOCK, root):
        mark_announced(manifest.run, manifest.dataset.name, root)


def confirm(manifest: Manifest, root: Path) -> bool:
    """Record that the published run is up to date; false if another was published meanwhile."""
    dataset = manifest.dataset.name
    with lock(PUBLICATION_LOCK, root):
        record_missed(dataset, root)
        if published_run(dataset, root) != manifest.run:
            return False
        record_confirmation(dataset, root)
        return True


def _read_published(dataset: str, root: Path) -> Manifest | None:
    try:
        return find_published(dataset, root)
    except StepError as error:  # the gate will refuse to replace it
        logger.warning("The published run cannot be announced: %s", error)
        return None
