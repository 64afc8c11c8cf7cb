"""Fetch what an object store has into an artifacts folder in which nothing is published.

So a job whose disk is empty each time compares with what is published, keeps its coordinate system,
and trains nothing again that is in it.
"""

import logging
from pathlib import Path

from tasks.codes.published import run_folder
from tasks.codes.remote.cache import check_path
from tasks.core.errors import StepError, TransientError
from tasks.core.locks import lock
from tasks.core.records import FileRecord
from tasks.core.storage import (
    atomic_file,
    copy_file,
    is_intact,
    move_into_place,
    partial_folder,
)
from tasks.models.store import RECORD_FILE, model_lock, stored_model
from tasks.runs.building import PUBLICATION_LOCK
from tasks.runs.journal import mark_announced
from tasks.runs.lookup import published_run
from tasks.runs.manifest import Manifest, read_manifest, short_name
from tasks.runs.publication import switch_link
from tasks.stores.pointer import Pointer, read_pointer
from tasks.stores.store import Store, read_file

logger = logging.getLogger(__name__)


def restore_published(dataset: str, root: Path, store: Store) -> str | None:
    """Publish here what a store has, unless a run is published here; return its name.

    Raises:
        TransientError: the store does not answer, or the run was superseded meanwhile.
        StepError: it refuses, or there is no room.
    """
    if published_run(dataset, root) is not None:
        return None
    with lock(f"copy-{dataset}", root):
        read = read_pointer(dataset, store)
        if read is None:
            return None
        manifest = fetch_run(read.pointer, root, store)
        put_back_models(manifest, root)
        with lock(PUBLICATION_LOCK, root):
            if published_run(dataset, root) is not None:
                return None
            switch_link(manifest, root, read.pointer.published)
            mark_announced(manifest.run, dataset, root)
    logger.info("Fetched run %s from %s", short_name(manifest.run), store.address)
    return manifest.run


def fetch_run(pointer: Pointer, root: Path, store: Store) -> Manifest:
    """Fetch all files of a run, each verified, unless the run is here."""
    folder = run_folder(pointer.run, root)
    if folder.exists():
        return read_manifest(folder)
    building = partial_folder(folder)
    fetch_file(pointer.manifest, building, pointer.folder, store)
    manifest = read_manifest(building)
    if manifest.run != pointer.run:
        raise StepError(f"{store.address}/{pointer.folder} is of run {manifest.run}: copy it again")
    for file in manifest.files:
        fetch_file(file, building, pointer.folder, store)
    move_into_place(building, folder)
    return manifest


def fetch_file(file: FileRecord, folder: Path, source: str, store: Store) -> None:
    """Fetch a file unless an earlier attempt did."""
    check_path(file.path)
    if is_intact(folder, file):
        return
    with atomic_file(folder / file.path) as partial, partial.open("wb") as target:
        for piece in read_file(file, f"{source}/{file.path}", store):
            target.write(piece)
    if not is_intact(folder, file):
        raise TransientError(f"{store.address}/{source}/{file.path} is not the file of the run")


def put_back_models(manifest: Manifest, root: Path) -> None:
    """Store the models of a run, so that they are not trained again."""
    for model in manifest.models:
        source, target = run_folder(manifest.run, root) / "models" / model.name, root / model.folder
        with lock(model_lock(model.fingerprint), root):
            if stored_model(target) is None:
                for name in (*(file.path for file in model.files), RECORD_FILE):
                    copy_file(source / name, target / name)
