"""Locks between the processes and threads of one host: files in `locks/` of the artifacts folder.

filelock takes an `flock`, which the kernel releases when its process ends, however it ends. A
waiting process reopens the file 20 times a second, so the holder may remove it. filelock's fallback
for file systems without flock is off: a file that merely exists would outlive a killed process.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.core.storage import make_folder, write_errors_explained

logger = logging.getLogger(__name__)


@contextmanager
def lock(name: str, root: Path) -> Iterator[None]:
    """Hold a lock; if another process or thread holds it, log that once and wait.

    Raises:
        StepError: its file cannot be written or locked.
    """
    with _released_at_the_end(name, root) as file_lock:
        if not _acquire(file_lock, blocking=False):
            logger.info("Waiting for another process that holds the lock %s", name)
            _acquire(file_lock, blocking=True)
        yield


@contextmanager
def lock_if_free(name: str, root: Path) -> Iterator[bool]:
    """Hold a lock unless another process or thread holds it; yield whether it is held here."""
    with _released_at_the_end(name, root) as file_lock:
        yield _acquire(file_lock, blocking=False)


def is_held(name: str, root: Path) -> bool | None:
    """Whether a process or thread holds a lock; None if it was never taken in this folder."""
    try:
        descriptor = os.open(lock_path(name, root), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        # Shared, so that two who ask at the same time do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def open_held(name: str, root: Path) -> int:
    """Take a lock that nobody else takes; return its file descriptor, to be handed to a child.

    The lock is held until the last process that has the descriptor ends or closes it.
    """
    path = lock_path(name, root)
    with write_errors_explained(path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def lock_path(name: str, root: Path) -> Path:
    """The file of a lock; only its holder may remove it."""
    return root / "locks" / f"{name}.lock"


@contextmanager
def _released_at_the_end(name: str, root: Path) -> Iterator[FileLock]:
    file_lock = FileLock(lock_path(name, root), fallback_to_soft=False)
    try:
        yield file_lock
    finally:
        file_lock.release()  # does nothing if it was not acquired


def _acquire(file_lock: FileLock, blocking: bool) -> bool:
    with write_errors_explained(Path(file_lock.lock_file)):
        try:
            file_lock.acquire(blocking=blocking)
        except Timeout:
            return False
    return True
