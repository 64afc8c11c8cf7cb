"""Delete old runs, and the models, datasets and neighbours that no run or sweep needs.

A folder is deleted only if it holds a record that names it: others are not of this project.
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AliasChoices, AliasPath, BaseModel, Field

from tasks.codes.published import run_folder
from tasks.core.errors import StepError
from tasks.core.locks import lock_if_free
from tasks.core.storage import PARTIAL_PREFIX, delete_folder, read_record
from tasks.encoding import stored_neighbors
from tasks.images import store as images
from tasks.models import store as models
from tasks.runs.building import ATTEMPT_FOLDER, RUN_LOCK_PREFIX, WAITING_FILE, read_waiting
from tasks.runs.journal import record_runs, superseded_at
from tasks.runs.lookup import find_runs, published_run

logger = logging.getLogger(__name__)

RESULT_RECORDS = (
    "runs/[!.]*/manifest.json",
    "sweeps/[!.]*/sweep.json",
    f"runs/{PARTIAL_PREFIX}*/{ATTEMPT_FOLDER}/{WAITING_FILE}",
)
OWN_RECORDS = {
    "models": (models.RECORD_FILE, "fingerprint"),
    "datasets": (images.RECORD_FILE, "folder"),
    "neighbors": (stored_neighbors.RECORD_FILE, "run"),
}
"""By kind of folder: its record, and the field of it that ends with the folder's name."""


class FolderView(BaseModel):
    """A model or dataset in the record of a run or sweep."""

    folder: str = Field(validation_alias=AliasChoices("folder", AliasPath("model", "folder")))


class ResultView(BaseModel):
    """What a run or sweep needs, read from its record; other fields are ignored."""

    dataset: FolderView
    models: tuple[FolderView, ...] = Field(validation_alias=AliasChoices("models", "points"))


@contextmanager
def failures_logged() -> Iterator[None]:
    """Log failures of a clean-up: they must not fail the run or sweep that it follows."""
    try:
        yield
    except (OSError, StepError) as error:
        logger.warning("The clean-up failed: %s", error)


@failures_logged()
def delete_old_runs(own_run: str, dataset: str, keep: int, grace: timedelta, root: Path) -> None:
    """Delete old runs of a dataset, then what is unneeded; the caller holds the publication lock.

    Kept are the published run, the run in progress (`own_run`), the newest `keep` runs that passed
    the gate, the newest `keep` others, and runs that were superseded, or finished without being
    published, less than `grace` ago.
    """
    runs = [run for run in find_runs(root) if run.dataset.name == dataset]
    record_runs(runs, dataset, root)  # while all that it needs is there
    in_use = {own_run, published_run(dataset, root)}
    for passed in (True, False):
        alike = [run for run in runs if run.verdict.published is passed]
        for run in alike[:-keep]:
            last_use = superseded_at(run.run, dataset, root) or run.finished
            if run.run not in in_use and datetime.now(UTC) - last_use >= grace:
                delete(run_folder(run.run, root))
    delete_unneeded(own_run, grace, root)


def delete_unneeded(own_run: str, grace: timedelta, root: Path) -> None:
    """Delete models, datasets and neighbours that no run or sweep needs, and partial folders.

    Deletes only what did not change for `grace`, and nothing while another run is in progress or
    if a record cannot be read, as what it needs is unknown.
    """
    if _another_run_in_progress(own_run, grace, root):
        logger.info("Skipped the clean-up: another run is in progress")
        return
    try:
        needed = needed_folders(root)
    except StepError as error:
        logger.warning("Skipped the clean-up: %s; repair the file or remove its folder", error)
        return
    for folder in _find_unneeded(needed, root):
        if _idle_time(folder) > grace and not _waits(folder, grace, root):
            delete(folder)


def needed_folders(root: Path) -> set[str]:
    """The folders that finished runs and sweeps need, relative to `root`.

    Raises:
        StepError: a record cannot be read.
    """
    needed = set()
    for path in [path for pattern in RESULT_RECORDS for path in root.glob(pattern)]:
        result = read_record(path, ResultView)
        needed |= {result.dataset.folder, *(model.folder for model in result.models)}
        needed.add(f"neighbors/{path.parent.name}")
    return needed


def _another_run_in_progress(own_run: str, grace: timedelta, root: Path) -> bool:
    """Try the lock of every other run; remove lock files that were not used for `grace`."""
    for path in (root / "locks").glob(f"{RUN_LOCK_PREFIX}*.lock"):
        name = path.name.removesuffix(".lock")
        if name == f"{RUN_LOCK_PREFIX}{own_run}":
            continue
        with lock_if_free(name, root) as free:
            if not free:
                return True
            if _idle_time(path) > grace:
                path.unlink()
    return False


def _find_unneeded(needed: set[str], root: Path) -> Iterator[Path]:
    for kind in (".", "runs", "models", "datasets", "neighbors", "sweeps", "encodings"):
        yield from (root / kind).glob(f"{PARTIAL_PREFIX}*")
    for kind, (record_file, field) in OWN_RECORDS.items():
        for folder in (root / kind).glob("[!.]*"):
            if f"{kind}/{folder.name}" not in needed and _is_ours(folder, record_file, field):
                yield folder


def _waits(folder: Path, grace: timedelta, root: Path) -> bool:
    """Whether a person may still decide on the run that is built in a folder."""
    manifest = read_waiting(folder.name.removeprefix(PARTIAL_PREFIX), root)
    approval = manifest.verdict.approval if manifest else None
    return approval is not None and datetime.now(UTC) < approval.until + grace


def _is_ours(folder: Path, record_file: str, field: str) -> bool:
    """Whether the record in a folder names the folder, or a training was interrupted in it."""
    try:
        record = json.loads((folder / record_file).read_bytes())
    except (OSError, ValueError):
        return folder.parent.name == "models" and (folder / "checkpoints").is_dir()
    return isinstance(record, dict) and Path(str(record.get(field))).name == folder.name


def _idle_time(path: Path) -> timedelta:
    """How long a file, or everything in a folder, was not changed."""
    newest = max(entry.lstat().st_mtime for entry in [path, *path.rglob("*")])
    return timedelta(seconds=time.time() - newest)


def delete(folder: Path) -> None:
    """Delete a folder, which is never seen half deleted; log it, or why it cannot be deleted."""
    try:
        delete_folder(folder)
    except OSError as error:
        logger.warning("%s cannot be deleted: %s", folder, error)
    else:
        logger.info("Deleted %s/%s: no longer needed", folder.parent.name, folder.name)
