"""Open what is published in an object store."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from ..errors import CodesError
from ..published import PublishedRun, read_run
from .address import check_address, open_store
from .cache import cache_folder, obtain_file
from .pointer import Pointer, read_pointer

if TYPE_CHECKING:
    from obstore.store import ObjectStore

ATTEMPTS = 3
"""A run that was superseded may be deleted between the pointer and the manifest."""


def open_remote(dataset: str, address: str, max_age: timedelta | None = None) -> PublishedRun:
    """Open the published run of a dataset; files are fetched when they are asked for.

    Raises:
        CodesError: nothing is published there, it is too old or damaged, or the store does not
            answer.
    """
    store, address = open_store(address), check_address(address)
    pointer = read_pointer(dataset, store, address)
    for _ in range(ATTEMPTS):
        if max_age is not None:
            from ..publications import check_confirmed  # it imports `tasks.codes.published`

            check_confirmed(dataset, pointer.confirmed, max_age)
        try:
            return _open(pointer, store, address)
        except CodesError:
            opened, pointer = pointer, read_pointer(dataset, store, address)
            if opened.folder == pointer.folder:
                raise
    raise CodesError(f"Other runs of {dataset} are published in {address} all the time: try again")


def _open(pointer: Pointer, store: "ObjectStore", address: str) -> PublishedRun:
    folder = cache_folder() / pointer.manifest.sha256
    obtain = partial(obtain_file, folder, store=store, source=pointer.folder, address=address)
    obtain(pointer.manifest)
    return replace(read_run(folder), obtain=obtain)


def remote_confirmed_at(dataset: str, address: str) -> datetime:
    """When what is published in a store was last known to be up to date."""
    return read_pointer(dataset, open_store(address), check_address(address)).confirmed
