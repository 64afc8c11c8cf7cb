"""Copy what is published to an object store: the run's files, then the pointer.

What is still to be copied is what the journal says and the pointer does not, so it survives the
process that published it: whoever comes next copies it.

Each copy has a folder of its own (`tasks.stores.folders`), which never changes once a
pointer names it.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import MANIFEST_FILE, check_file, run_folder
from tasks.core.errors import TransientError, command
from tasks.core.locks import lock
from tasks.core.records import FileRecord
from tasks.core.settings import read_settings
from tasks.core.storage import describe_file
from tasks.runs.journal import Journal, Publication
from tasks.runs.lookup import published_run
from tasks.runs.manifest import read_manifest, short_name
from tasks.runs.outbox import read_recorded
from tasks.stores.folders import MOST_AGE, age_of, choose_folder
from tasks.stores.pointer import Pointer, Read, check_conditions, put_pointer, read_pointer
from tasks.stores.retention import delete_unneeded
from tasks.stores.store import Store, is_stored, list_objects, put_file

logger = logging.getLogger(__name__)

ATTEMPTS = 10
"""So often in a row another publisher was first: that is no coincidence any more."""


class Copied(NamedTuple):
    """What a store has."""

    run: str
    """That readers of the store get."""
    address: str
    is_own: bool
    """Whether that is the run published here; otherwise a later one that was made elsewhere."""


def copy_published(dataset: str, root: Path, store: Store) -> Copied | None:
    """Bring a store up to date with what is published here; None if nothing is.

    Raises:
        TransientError: the store does not answer.
        AutoencoderError: it refuses, or the published run is damaged. What is published here stays.
    """
    try:
        with lock(f"copy-{dataset}", root):  # others would copy the same
            return _copy_published(dataset, root, store)
    except AutoencoderError as error:
        raise type(error)(
            f"What is published of {dataset} in {root} is not in the object store: {error}. "
            f"The next run copies it, or {command('tasks.runs copy')}"
        ) from error


def _copy_published(dataset: str, root: Path, store: Store) -> Copied | None:
    for _ in range(ATTEMPTS):
        read = read_pointer(dataset, store)
        journal = read_recorded(dataset, root)  # after the pointer: never older than it
        if not journal.publications or published_run(dataset, root) is None:
            return None
        last = journal.publications[-1]
        if read and is_later(read.pointer, last, journal):
            return Copied(read.pointer.run, store.address, is_own=False)
        pointer = _wanted_pointer(read, journal, dataset, root, store)
        if (read and read.pointer == pointer) or put_pointer(pointer, read, store):
            delete_unneeded(store)
            return Copied(last.run, store.address, is_own=True)
    raise TransientError(f"other publishers replace it in {store.address} all the time")


def is_later(pointer: Pointer, last: Publication, journal: Journal) -> bool:
    """Whether the run in a store was published after the last one here.

    Of two publications here the journal knows the order; with one from another artifacts folder,
    only the clocks can tell.
    """
    known = {(entry.run, entry.time) for entry in journal.publications}
    if pointer.run == last.run or (pointer.run, pointer.published) in known:
        return False
    return (pointer.published, pointer.run) > (last.time, last.run)


def _wanted_pointer(
    read: Read | None, journal: Journal, dataset: str, root: Path, store: Store
) -> Pointer:
    """The pointer to what is published here, which is copied unless the store has it."""
    last = journal.publications[-1]
    confirmed = max(filter(None, (last.time, journal.confirmed)))
    if read and read.pointer.run == last.run:
        return read.pointer.renew(last.time, confirmed)
    if read is None:
        check_conditions(store)
    folder = choose_folder(last.run, store)
    pointer = Pointer(
        dataset=dataset,
        run=last.run,
        folder=folder,
        manifest=copy_run(last.run, root, folder, store),
        published=last.time,
        confirmed=confirmed,
    )
    if age_of(folder) > MOST_AGE:
        raise TransientError(f"Copying {last.run} to {store.address} took too long: it starts anew")
    logger.info("Copied run %s to %s/%s", short_name(last.run), store.address, folder)
    settings = read_settings()
    return pointer.supersede(read.pointer, settings.keep, settings.grace) if read else pointer


def copy_run(run: str, root: Path, folder: str, store: Store) -> FileRecord:
    """Copy a run's files, its manifest last; return the manifest's size and SHA-256.

    Raises:
        StepError: the run here is damaged or deleted, or as for `copy_published`.
    """
    source = run_folder(run, root)
    manifest = describe_file(source, MANIFEST_FILE)
    there = list_objects(f"{folder}/", store)
    for file in (*read_manifest(source).files, manifest):
        copy_file(source, file, f"{folder}/{file.path}", there, store)
    return manifest


def copy_file(
    source: Path, file: FileRecord, key: str, there: dict[str, int], store: Store
) -> None:
    """Copy a file unless its object is there; either way the object is read and compared.

    Args:
        there: the sizes of objects that an earlier attempt left.
    """
    if there.get(key) == file.size and is_stored(file, key, store):
        return
    put_file(source / file.path, key, store)
    if not is_stored(file, key, store):
        check_file(source, file.path, file.size, file.sha256)
        raise TransientError(f"{store.address}/{key} is not what was stored: it is stored again")
