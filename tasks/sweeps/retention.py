"""Delete old sweeps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.runs.retention import delete, delete_unneeded, failures_logged
from tasks.sweeps.records import find_sweeps, sweep_folder


@failures_logged()
def delete_old_sweeps(own_run: str, dataset: str, keep: int, grace: timedelta, root: Path) -> None:
    """Delete old sweeps of a dataset, then what is unneeded; the caller holds the publication lock.

    Kept are the newest `keep` sweeps, and those that finished less than `grace` ago.

    Args:
        own_run: the sweep in progress, never deleted.
    """
    sweeps = [sweep for sweep in find_sweeps(root) if sweep.dataset.name == dataset]
    now = datetime.now(UTC)
    for sweep in sweeps[:-keep]:
        if sweep.run != own_run and now - sweep.finished >= grace:
            delete(sweep_folder(sweep.run, root))
    delete_unneeded(own_run, grace, root)
