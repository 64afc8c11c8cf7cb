"""The one way to write: atomic files and folders, hashes, locks.

Nothing half-written is ever visible under its final name. A file or folder is written beside its
place, flushed to the disk, renamed, and the rename itself is flushed. Locks are `flock` locks: the
kernel drops them when their process ends, however it ends. They hold on one host.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.codes.published import ROOT_VARIABLE as ROOT_VARIABLE
from tasks.codes.published import artifacts_folder as artifacts_folder
from tasks.codes.published import sha256_of_file as sha256_of_file
from tasks.core.errors import StepError
from tasks.core.records import FileRecord

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=BaseModel)
PARTIAL_PREFIX = ".partial-"
"""What is being built stands beside its final place under this prefix, never under its name."""


def prepare_artifacts_folder() -> Path:
    """The artifacts folder, for jobs that write.

    Raises:
        StepError: it cannot be made or written to.
    """
    root = artifacts_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        raise StepError(
            f"The artifacts folder {root} cannot be written to ({error.strerror}): make it "
            f"writable, or name another with {ROOT_VARIABLE}"
        ) from None
    return root


def describe_file(folder: Path, name: str) -> FileRecord:
    """Size and SHA-256 of a file in a folder."""
    path = folder / name
    return FileRecord(path=name, size=path.stat().st_size, sha256=sha256_of_file(path))


def is_intact(folder: Path, record: FileRecord) -> bool:
    """Whether a file is there and has the recorded size and SHA-256."""
    try:
        return describe_file(folder, record.path) == record
    except OSError:
        return False


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename durably: both entries of the change are on the disk when this returns."""
    source.replace(target)
    sync(target.parent)


@contextmanager
def write_errors_explained(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write into a line that tells what to do."""
    try:
        yield
    except OSError as error:
        folder = next(parent for parent in path.parents if parent.exists())
        free = shutil.disk_usage(folder).free / 1e6
        # Not strerror: HDF5 makes that several lines with the time and addresses.
        reason = os.strerror(error.errno) if error.errno else error
        raise StepError(
            f"{path} cannot be written ({reason}; {free:.0f} MB are free there): "
            f"make room, or name another artifacts folder with {ROOT_VARIABLE}"
        ) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; what stands there at the end becomes `path` in one step.

    Any error, or the end of the process, leaves whatever `path` was before.
    """
    with write_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=PARTIAL_PREFIX, suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        partial = Path(name)
        try:
            yield partial
            partial.chmod(0o644)  # mkstemp's 0600 would shut out the jobs that read the results
            sync(partial)
            rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically."""
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as indented JSON, atomically."""
    write_bytes(path, (record.model_dump_json(indent=2) + "\n").encode())


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record from a JSON file.

    Raises:
        StepError: the file is missing, or is not such a record; names the first wrong field.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StepError(f"{path} cannot be read ({error.strerror})") from None
    except ValidationError as error:
        fact = error.errors()[0]
        where = ".".join(map(str, fact["loc"])) or path.name
        raise StepError(f"{path} is damaged: {where}: {fact['msg']}") from None


def load_or_compute(path: Path, kind: type[R], make: Callable[[], R]) -> R:
    """Read the record that an earlier attempt left; make and write it if there is none."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        record = make()
        write_record(path, record)
        return record


def remove_partial_files(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder that nobody else writes to."""
    for left in folder.rglob(f"{PARTIAL_PREFIX}*"):
        left.unlink()


def partial_folder(path: Path) -> Path:
    """Where the folder `path` is built before it gets its name."""
    return path.parent / f"{PARTIAL_PREFIX}{path.name}"


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `path` in one step, replacing what stood there.

    The caller holds the lock of `path`: whatever an earlier, killed builder left is removed.
    """
    partial = partial_folder(path)
    with write_errors_explained(path):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            move_into_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def move_into_place(partial: Path, path: Path) -> None:
    """Flush everything in `partial` and give it its final name."""
    with write_errors_explained(path):
        for entry in [*partial.rglob("*"), partial]:
            sync(entry)
        if path.exists():  # a folder that failed verification: nothing may refer to it any more
            shutil.rmtree(path)
        rename(partial, path)


@contextmanager
def lock(name: str, root: Path) -> Iterator[None]:
    """Hold the lock `name` of an artifacts folder; wait, and say so, while another process does."""
    file = _open_lock(name, root)
    while True:
        with file:
            if not _acquire(file):
                logger.info("Waiting for another process that holds the lock %s", name)
                fcntl.flock(file, fcntl.LOCK_EX)
            if _still_there(file):
                yield
                return
        file = _open_lock(name, root)  # its last holder removed the file while we waited


@contextmanager
def lock_if_free(name: str, root: Path) -> Iterator[bool]:
    """Hold the lock unless another process does; tell which."""
    with _open_lock(name, root) as file:
        yield _acquire(file)


def lock_path(name: str, root: Path) -> Path:
    """The file of a lock; whoever removes it must hold it."""
    return root / "locks" / f"{name}.lock"


def _open_lock(name: str, root: Path) -> IO[str]:
    path = lock_path(name, root)
    with write_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")


def _acquire(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), Path(file.name).stat())
    except FileNotFoundError:
        return False


def delete_folder(folder: Path) -> None:
    """Delete a folder so that nobody ever sees a part of it under its name."""
    doomed = partial_folder(folder)
    folder.rename(doomed)
    shutil.rmtree(doomed)
