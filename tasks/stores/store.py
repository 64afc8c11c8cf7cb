"""An object store of published runs, and what its failures mean."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obstore.exceptions import BaseError, GenericError

from tasks.codes.errors import CodesError
from tasks.codes.remote.address import (
    SizeError,
    check_address,
    describe,
    open_store,
    read_pieces,
)
from tasks.core.errors import StepError, TransientError
from tasks.core.records import FileRecord
from tasks.core.settings import PREFIX, read_settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

logger = logging.getLogger(__name__)


class Store(NamedTuple):
    """An object store and how people call it."""

    objects: "ObjectStore"
    address: str


def is_configured() -> bool:
    """Whether what is published is copied to an object store."""
    return read_settings().publish_to is not None


def configured_store() -> Store:
    """The store that `AUTOENCODER_PUBLISH_TO` names.

    Raises:
        StepError: none is named, or it cannot be opened.
    """
    address = read_settings().publish_to
    if address is None:
        raise StepError(f"No object store is named: set {PREFIX}PUBLISH_TO to s3://BUCKET/PREFIX")
    try:
        return Store(open_store(address), check_address(address))
    except CodesError as error:
        raise StepError(str(error)) from None


@contextmanager
def store_errors_explained(store: Store) -> Iterator[None]:
    """Raise what a store answers, or that it does not, in one line.

    Raises:
        TransientError: it may pass.
        StepError: it will not: no access, no such bucket, no such operation.
    """
    try:
        yield
    except GenericError as error:  # obstore itself tried again before
        raise TransientError(f"{store.address} did not answer: {describe(error)}") from error
    except (BaseError, FileNotFoundError, NotImplementedError, ValueError) as error:
        raise StepError(f"{store.address} refused: {describe(error)}") from error
    except OSError as error:
        raise TransientError(f"{store.address} did not answer: {describe(error)}") from error


def read_object(key: str, store: Store) -> bytes | None:
    """The content of a small object; None if there is none."""
    with store_errors_explained(store):
        try:
            return bytes(store.objects.get(key).bytes())
        except FileNotFoundError:
            return None


def read_file(file: FileRecord, key: str, store: Store) -> Iterator[bytes]:
    """Read an object in pieces; fewer than the file has where the object has another size."""
    pieces = read_pieces(key, file.size, store.objects)
    while True:
        with store_errors_explained(store):
            try:
                piece = next(pieces, None)
            except SizeError:
                return
        if piece is None:
            return
        yield piece


def is_stored(file: FileRecord, key: str, store: Store) -> bool:
    """Whether an object is this file, bit by bit: it is read."""
    digest = hashlib.sha256()
    for piece in read_file(file, key, store):
        digest.update(piece)
    return digest.hexdigest() == file.sha256


def put_file(path: Path, key: str, store: Store) -> None:
    """Store a file; large ones in several parts."""
    with path.open("rb") as file, store_errors_explained(store):
        store.objects.put(key, file)


def list_objects(prefix: str, store: Store) -> dict[str, int]:
    """The keys beneath a prefix, which ends with a slash, and their sizes in bytes."""
    with store_errors_explained(store):
        chunks = store.objects.list(prefix)
        return {found["path"]: found["size"] for chunk in chunks for found in chunk}


def list_old(prefix: str, age: timedelta, store: Store) -> list[str]:
    """The keys beneath a prefix of objects that were stored longer ago than that."""
    with store_errors_explained(store):
        found = [meta for chunk in store.objects.list(prefix) for meta in chunk]
    return [meta["path"] for meta in found if datetime.now(UTC) - meta["last_modified"] > age]


def list_folders(prefix: str, store: Store) -> list[str]:
    """The names of the folders right beneath a prefix, sorted."""
    with store_errors_explained(store):
        found = store.objects.list_with_delimiter(prefix)["common_prefixes"]
    return sorted(path.rstrip("/").rpartition("/")[2] for path in found)


def delete_objects(keys: list[str], store: Store) -> None:
    """Delete objects; those that are gone already do no harm."""
    with store_errors_explained(store):
        try:
            store.objects.delete(keys)
        except FileNotFoundError:
            logger.debug("Somebody else deleted some of %s", keys[:1])
