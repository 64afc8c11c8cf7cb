"""Delete from an object store the copies that no pointer names any more."""

import logging
from datetime import timedelta
from pathlib import PurePosixPath

from tasks.codes.remote.pointer import POINTERS
from tasks.core.errors import StepError
from tasks.stores.folders import LEAST_AGE, age_of, list_copies
from tasks.stores.pointer import read_pointer
from tasks.stores.store import Store, delete_objects, list_objects, list_old

LEFT = (("probes/", timedelta(days=1)), ("state/", timedelta(days=7)))
"""What a killed process left behind, and when nobody needs it any more."""

logger = logging.getLogger(__name__)


def delete_unneeded(store: Store) -> None:
    """Delete old copies that no dataset's pointer names: superseded, or never completed.

    A failure is logged: it must not fail the publication that it follows.
    """
    try:
        delete_objects([key for prefix, age in LEFT for key in list_old(prefix, age, store)], store)
        old = [folder for folder in list_copies(store) if age_of(folder) > LEAST_AGE]
        needed = needed_folders(store) if old else set()
        for folder in sorted({*old} - needed):
            delete_objects(list(list_objects(f"{folder}/", store)), store)
            logger.info("Deleted %s/%s: no longer needed", store.address, folder)
    except StepError as error:
        logger.warning("The clean-up failed: %s", error)


def needed_folders(store: Store) -> set[str]:
    """The folders that a pointer names: what is published, and what was until recently.

    Raises:
        StepError: the store does not answer, or a pointer is damaged.
    """
    needed = set()
    for key in list_objects(f"{POINTERS}/", store):
        if read := read_pointer(PurePosixPath(key).stem, store):
            earlier = (run.folder for run in read.pointer.superseded)
            needed |= {read.pointer.folder, *earlier}
    return needed
