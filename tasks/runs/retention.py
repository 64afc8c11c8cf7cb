"""Which runs and sweeps are kept, and the deletion of what none of them needs.

Nothing is deleted that this project did not make: a folder counts as ours when the record in it
says that it is the folder it stands in.
"""

import logging
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tasks.core.records import DatasetRecord, Record
from tasks.core.storage import PARTIAL_PREFIX, delete_folder, lock_if_free, lock_path
from tasks.encoding import neighbors
from tasks.images import store as image_store
from tasks.models import store as models
from tasks.runs.journal import forget_runs, superseded_at
from tasks.runs.manifest import Manifest, find_runs, published_link, run_folder
from tasks.sweeps.records import Sweep, find_sweeps, sweep_folder

logger = logging.getLogger(__name__)

RUN_LOCK_PREFIX = "run-"

R = TypeVar("R", bound=Record)


def run_lock(run: str) -> str:
    """The name of the lock that a process holds while it works on a run."""
    return f"{RUN_LOCK_PREFIX}{run}"


def collect(own_run: str, dataset: str, keep: int, grace: timedelta, root: Path) -> None:
    """Delete old runs of a dataset, and what no run needs; the caller holds the publication lock.

    Kept are what is published, what was superseded, or finished without being published, less than
    `grace` ago, and the newest `keep` runs of those that were published and of those that were not.
    Models, datasets, neighbours and leftovers of killed processes that no run and no sweep needs go
    when they are older than `grace` and no other process works on a run or a sweep.
    """
    runs = find_runs(root)
    doomed = [
        run
        for run in _beyond([run for run in runs if run.dataset.name == dataset], keep)
        if run.run != own_run and not _protected(run, grace, root)
    ]
    for run in doomed:
        _delete(run_folder(run.run, root))
    forget_runs({run.run for run in doomed}, dataset, root)
    kept = [run for run in runs if run not in doomed]
    _collect_unused(own_run, kept, find_sweeps(root), grace, root)


def collect_sweeps(own_run: str, dataset: str, keep: int, grace: timedelta, root: Path) -> None:
    """Delete old sweeps of a dataset, and what is not needed; the caller holds the same lock.

    Kept are the newest `keep`, and what finished less than `grace` ago. For the rest see `collect`.
    """
    sweeps, now = find_sweeps(root), datetime.now(UTC)
    of_dataset = [sweep for sweep in sweeps if sweep.dataset.name == dataset]
    doomed = [
        sweep
        for sweep in of_dataset[:-keep]
        if sweep.run != own_run and now - sweep.finished >= grace
    ]
    for sweep in doomed:
        _delete(sweep_folder(sweep.run, root))
    kept = [sweep for sweep in sweeps if sweep not in doomed]
    _collect_unused(own_run, find_runs(root), kept, grace, root)


def _collect_unused(
    own_run: str, runs: list[Manifest], sweeps: list[Sweep], grace: timedelta, root: Path
) -> None:
    if _another_run_is_active(own_run, grace, root):
        logger.info("Unused models and leftovers stay: another run is in progress")
        return
    for folder in _unused(runs, sweeps, root):
        if _idle(folder) > grace:
            _delete(folder)


def _beyond(runs: list[Manifest], keep: int) -> list[Manifest]:
    """All but the newest `keep`, those that were published and those that were not apart."""
    published = [run for run in runs if run.verdict.published]
    others = [run for run in runs if not run.verdict.published]
    return [*published[:-keep], *others[:-keep]]


def _protected(run: Manifest, grace: timedelta, root: Path) -> bool:
    dataset = run.dataset.name
    if published_link(dataset, root).resolve() == run_folder(run.run, root).resolve():
        return True
    last_of_use = superseded_at(run.run, dataset, root) or run.finished
    return datetime.now(UTC) - last_of_use < grace


def _another_run_is_active(own_run: str, grace: timedelta, root: Path) -> bool:
    """Try the lock of every other run; remove those that nobody holds any more."""
    for path in (root / "locks").glob(f"{RUN_LOCK_PREFIX}*.lock"):
        name = path.name.removesuffix(".lock")
        if name == run_lock(own_run):
            continue
        with lock_if_free(name, root) as free:
            if not free:
                return True
            if _idle(path) > grace:
                lock_path(name, root).unlink()
    return False


def _unused(runs: list[Manifest], sweeps: list[Sweep], root: Path) -> Iterator[Path]:
    """Folders of ours that none of these runs and sweeps needs."""
    for kind in ("runs", "models", "datasets", "neighbors", "sweeps", "encodings"):
        yield from (root / kind).glob(f"{PARTIAL_PREFIX}*")
    needed = {model.folder for run in runs for model in run.models}
    needed |= {point.model.folder for sweep in sweeps for point in sweep.points}
    needed |= {run.dataset.folder for run in runs} | {sweep.dataset.folder for sweep in sweeps}
    needed |= {f"neighbors/{run.run}" for run in runs}
    for kind, is_ours in (
        ("models", _is_model),
        ("datasets", _is_dataset),
        ("neighbors", _is_neighbors),
    ):
        for folder in (root / kind).glob("[!.]*"):
            if f"{kind}/{folder.name}" not in needed and is_ours(folder):
                yield folder


def _is_model(folder: Path) -> bool:
    """Whether it holds a model, or checkpoints of one, under its fingerprint."""
    record = _read(folder / models.RECORD_FILE, models.ModelRecord)
    return record.fingerprint == folder.name if record else (folder / "checkpoints").is_dir()


def _is_dataset(folder: Path) -> bool:
    record = _read(folder / image_store.RECORD_FILE, DatasetRecord)
    return record is not None and record.folder == f"datasets/{folder.name}"


def _is_neighbors(folder: Path) -> bool:
    record = _read(folder / neighbors.RECORD_FILE, neighbors.NeighborsRecord)
    return record is not None and record.run == folder.name


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _idle(path: Path) -> timedelta:
    """How long nothing in it changed."""
    newest = max(entry.lstat().st_mtime for entry in [path, *path.rglob("*")])
    return timedelta(seconds=time.time() - newest)


def _delete(folder: Path) -> None:
    """Delete, and say so; a folder that cannot be deleted must not fail a run that is published."""
    try:
        if folder.name.startswith(PARTIAL_PREFIX):
            shutil.rmtree(folder)
        else:
            delete_folder(folder)
    except OSError as error:
        logger.warning("%s cannot be deleted: %s", folder, error)
    else:
        logger.info("Deleted %s/%s: no longer needed", folder.parent.name, folder.name)
