"""Copies of a training's checkpoints in an object store, so that it can be resumed elsewhere.

`state/<fingerprint>/` holds the newest one under its own name, which ends with its SHA-256. A
thread looks for new ones in the folder that the training writes them to: the training knows nothing
of it, and no failure of the store stops it.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from pathlib import Path

from tasks.core.errors import StepError
from tasks.core.records import Sha256
from tasks.core.storage import write_bytes
from tasks.models.checkpoints import NAME
from tasks.models.spec import TrainingSpec
from tasks.models.store import ModelRecord
from tasks.runs.anchors import TrainingContext, plan_training
from tasks.stores.store import (
    Store,
    configured_store,
    delete_objects,
    is_configured,
    list_objects,
    put_file,
    read_object,
)

logger = logging.getLogger(__name__)

COPY_SECONDS = 60.0
"""Most work that is lost with a disk, as long as copying takes less."""
LOOK_SECONDS = 1.0


def training_copied(
    context: TrainingContext, spec: TrainingSpec, earlier: list[ModelRecord], root: Path
) -> AbstractContextManager[None]:
    """Copy the checkpoints of a training, if there is an object store.

    Args:
        spec, earlier: as for `plan_training`.
    """
    if not is_configured():
        return nullcontext()
    planned = plan_training(context, spec, earlier, root).spec
    return checkpoints_copied(context.fingerprint_of(planned), root, configured_store())


@contextmanager
def checkpoints_copied(fingerprint: Sha256, root: Path, store: Store) -> Iterator[None]:
    """Copy the newest checkpoint of a training each minute, and at last when it is interrupted.

    One that is in the store and not here is fetched first. When the training is complete, the
    copies are deleted.
    """
    folder = root / "models" / fingerprint / "checkpoints"
    copies = Copies(fingerprint, folder, store)
    copies.fetch()
    ended = threading.Event()
    thread = threading.Thread(
        target=copy_context().run, args=(copies.keep_up, ended), name="checkpoints", daemon=True
    )
    thread.start()
    try:
        yield
    except BaseException:
        _join(ended, thread)
        copies.copy()
        raise
    _join(ended, thread)
    copies.delete()


def _join(ended: threading.Event, thread: threading.Thread) -> None:
    ended.set()
    thread.join()


class Copies:
    """The copies of the checkpoints of one training."""

    def __init__(self, fingerprint: Sha256, folder: Path, store: Store) -> None:
        """Take the folder that the training writes its checkpoints to."""
        self._prefix, self._folder, self._store = f"state/{fingerprint}/", folder, store
        self._copied: str | None = None

    def keep_up(self, ended: threading.Event) -> None:
        """Copy the newest checkpoint each minute until told to end."""
        due = time.monotonic() + COPY_SECONDS
        while not ended.wait(LOOK_SECONDS):
            if time.monotonic() >= due:
                self.copy()
                due = time.monotonic() + COPY_SECONDS

    def copy(self) -> None:
        """Copy the newest checkpoint unless it was; delete the copies before it."""
        with failures_logged("copied to"):
            name = next(reversed(self._local()), None)
            if name is None or name == self._copied:
                return
            try:
                put_file(self._folder / name, self._prefix + name, self._store)
            except FileNotFoundError:  # the training has written newer ones meanwhile
                return
            self._copied = name
            delete_objects([key for key in self._keys() if key != self._prefix + name], self._store)

    def fetch(self) -> None:
        """Fetch the newest copy that is undamaged, unless there are checkpoints here."""
        if self._local():
            return
        with failures_logged("fetched from"):
            for key in reversed(self._keys()):
                content, name = read_object(key, self._store), key.removeprefix(self._prefix)
                if content and hashlib.sha256(content).hexdigest() == name[-68:-4]:
                    write_bytes(self._folder / name, content)
                    logger.info("Fetched checkpoint %s from %s", name[:13], self._store.address)
                    self._copied = name
                    return

    def delete(self) -> None:
        """Delete all copies."""
        with failures_logged("deleted from"):
            delete_objects(self._keys(), self._store)

    def _local(self) -> list[str]:
        """The names of the checkpoints here, oldest first."""
        return sorted(path.name for path in self._folder.glob("*") if NAME.fullmatch(path.name))

    def _keys(self) -> list[str]:
        """The keys of the copies, oldest first."""
        found = list_objects(self._prefix, self._store)
        return sorted(key for key in found if NAME.fullmatch(key.removeprefix(self._prefix)))


@contextmanager
def failures_logged(verb: str) -> Iterator[None]:
    """Log what goes wrong with copies: a training goes on without them."""
    try:
        yield
    except (StepError, OSError) as error:
        logger.warning("A checkpoint cannot be %s the object store: %s", verb, error)
