"""The pointer of a dataset: the object that says which run is published.

It is replaced only by a conditional put, which fails if anybody replaced it since it was read.
Readers see its fields as `tasks.codes.remote.pointer` does.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, PreconditionError
from pydantic import Field, ValidationError

from tasks.codes.remote.pointer import pointer_key
from tasks.core.errors import StepError
from tasks.core.records import FileRecord, Record
from tasks.stores.store import Store, delete_objects, store_errors_explained

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, UpdateVersion

SCHEMA_VERSION = 1
NOT_REPLACED = (AlreadyExistsError, PreconditionError)
"""Another process was first."""


class Superseded(Record):
    """A run that was published earlier and is kept for those who still read it."""

    run: str
    folder: str
    time: datetime = Field(description="when another took its place")


class Pointer(Record):
    """Which run of a dataset is published."""

    schema_version: int = SCHEMA_VERSION
    dataset: str
    run: str
    folder: str = Field(description="of its files, relative to the address of the store")
    manifest: FileRecord
    published: datetime = Field(description="when it was published where it was made")
    confirmed: datetime = Field(
        description="when it was published, or a later run found that it would only repeat it"
    )
    superseded: tuple[Superseded, ...] = Field((), description="earlier ones, oldest first")

    def renew(self, published: datetime, confirmed: datetime) -> "Pointer":
        """The same pointer with these times, unless it has later ones."""
        times = {
            "published": max(self.published, published),
            "confirmed": max(self.confirmed, confirmed),
        }
        return self.model_copy(update=times)

    def supersede(self, earlier: "Pointer", keep: int, grace: timedelta) -> "Pointer":
        """This pointer in the place of an earlier one, which is kept as settings say.

        Args:
            keep: how many runs are kept, this one among them.
            grace: how long each is kept at least.
        """
        now = datetime.now(UTC)
        last = Superseded(run=earlier.run, folder=earlier.folder, time=now)
        known = [run for run in (*earlier.superseded, last) if run.folder != self.folder]
        oldest = max(0, len(known) + 1 - keep)
        kept = tuple(run for i, run in enumerate(known) if i >= oldest or now - run.time < grace)
        return self.model_copy(update={"superseded": kept})


class Read(NamedTuple):
    """A pointer as it was read."""

    pointer: Pointer
    version: "UpdateVersion"
    """Of the object, which a conditional put names."""


def read_pointer(dataset: str, store: Store) -> Read | None:
    """Read the pointer of a dataset; None if nothing was ever published.

    Raises:
        TransientError: the store does not answer.
        StepError: it refuses, or the pointer is damaged.
    """
    key = pointer_key(dataset)
    with store_errors_explained(store):
        try:
            found = store.objects.get(key)
        except FileNotFoundError:
            return None
        content = bytes(found.bytes())
    try:
        pointer = Pointer.model_validate_json(content)
    except ValidationError as error:
        fact = error.errors()[0]
        raise StepError(
            f"{store.address}/{key} is damaged ({fact['msg']}): delete it, then copy again"
        ) from None
    return Read(pointer, _version(found.meta))


def _version(meta: "ObjectMeta") -> "UpdateVersion":
    """What tells two versions of an object apart; stores differ in which of the two they have."""
    version: UpdateVersion = {}
    if meta["e_tag"]:
        version["e_tag"] = meta["e_tag"]
    if meta["version"]:
        version["version"] = meta["version"]
    return version


def put_pointer(pointer: Pointer, read: Read | None, store: Store) -> bool:
    """Put a pointer in the place of the one that was read, or of none.

    Returns:
        False if somebody else was first. That may also be an earlier attempt of this very call,
        whose answer was lost: read again.

    Raises:
        StepError: as for `read_pointer`.
    """
    content = (pointer.model_dump_json(indent=2) + "\n").encode()
    return _put(pointer_key(pointer.dataset), content, read.version if read else "create", store)


def _put(key: str, content: bytes, mode: "PutMode", store: Store) -> bool:
    with store_errors_explained(store):
        try:
            store.objects.put(key, content, mode=mode, use_multipart=False)
        except NOT_REPLACED:
            return False
        return True


def check_conditions(store: Store) -> None:
    """Try whether the store replaces an object only on the condition that it is the one known.

    Raises:
        StepError: it does not, so two publishers could overwrite each other.
    """
    key = f"probes/{uuid4()}"
    try:
        done = [_put(key, b"1", "create", store), _put(key, b"2", "create", store)]
        with store_errors_explained(store):
            known = _version(store.objects.head(key))
        done += [bool(known) and _put(key, content, known, store) for content in (b"3", b"4")]
    finally:
        delete_objects([key], store)
    if done != [True, False, True, False]:
        raise StepError(
            f"{store.address} ignores the conditions If-Match and If-None-Match, by which two "
            "publishers do not overwrite each other: publish to another store"
        )
