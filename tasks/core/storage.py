"""Atomic files and folders, and their hashes.

Nothing half-written is ever visible under its final name: a file or folder is written beside its
final place, flushed to the disk and renamed, and the rename is flushed too.
"""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tasks.codes.published import ROOT_VARIABLE, artifacts_folder
from tasks.codes.reader import sha256_of_file
from tasks.core.errors import NO_ROOM, StepError, TransientError, may_pass
from tasks.core.exchange import exchange
from tasks.core.records import FileRecord

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=BaseModel)
PARTIAL_PREFIX = ".partial-"
"""Files and folders have this prefix while they are built."""


def prepare_artifacts_folder() -> Path:
    """The artifacts folder, for jobs that write.

    Raises:
        TransientError: it cannot be written to now.
        StepError: it cannot be created or written to.
    """
    root = artifacts_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        kind = TransientError if may_pass(error) else StepError
        raise kind(
            f"The artifacts folder {root} cannot be written to ({error.strerror}): make it "
            f"writable, or name another with {ROOT_VARIABLE}"
        ) from None
    return root


def existing_artifacts_folder() -> Path:
    """The artifacts folder, for commands that read what is there.

    Raises:
        StepError: there is none.
    """
    root = artifacts_folder()
    if not root.is_dir():
        raise StepError(
            f"There is no artifacts folder {root.absolute()}: run the flow first, or name another "
            f"with {ROOT_VARIABLE}"
        )
    return root


def describe_file(folder: Path, name: str) -> FileRecord:
    """Size and SHA-256 of a file in a folder."""
    path = folder / name
    return FileRecord(path=name, size=path.stat().st_size, sha256=sha256_of_file(path))


def is_intact(folder: Path, record: FileRecord) -> bool:
    """Whether a file exists with the recorded size and SHA-256."""
    try:
        return describe_file(folder, record.path) == record
    except OSError:
        return False


def make_folder(path: Path) -> None:
    """Create a folder and those above it, each as readable as the one that it is in."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


def share(path: Path) -> None:
    """Make a file or folder as readable for others as the folder that it is in.

    Whoever owns the artifacts folder decides by its mode who may read, not the umask of a process.
    """
    mode, bits = path.stat().st_mode, 0o055 if path.is_dir() else 0o044
    wanted = (mode & ~bits) | (path.parent.stat().st_mode & bits)
    if wanted != mode:
        path.chmod(stat.S_IMODE(wanted))


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename, and flush the change to the disk."""
    source.replace(target)
    sync(target.parent)


@contextmanager
def write_errors_explained(path: Path) -> Iterator[None]:
    """Raise an error of the operating system in one line that says what to do.

    Args:
        path: what is written; files outside of its folder are inputs, which are only read.

    Raises:
        TransientError: it may pass.
        StepError: it will not.
    """
    try:
        yield
    except OSError as error:
        kind = TransientError if may_pass(error) else StepError
        raise kind(_explain(error, path)) from error


def _explain(error: OSError, path: Path) -> str:
    # Not strerror: HDF5 makes that several lines with the time and addresses.
    reason = os.strerror(error.errno) if error.errno else str(error)
    # Of a failed copy, the second name is the file that was written.
    if error.filename and not error.filename2:
        input_file = Path(os.fsdecode(error.filename))
        if not input_file.is_relative_to(path.parent):
            return f"{input_file} cannot be read ({reason}), which {path} is made from"
    what = "remedy that"
    if error.errno in NO_ROOM:
        folder = next(parent for parent in path.parents if parent.exists())
        reason += f"; {shutil.disk_usage(folder).free / 1e6:.0f} MB are free there"
        what = "make room"
    return (
        f"{path} cannot be written ({reason}): {what}, or name another artifacts folder with "
        f"{ROOT_VARIABLE}"
    )


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; its file becomes `path` in one step at the end.

    After an error, or if the process ends, `path` is as it was before.
    """
    with write_errors_explained(path):
        make_folder(path.parent)
        descriptor, name = tempfile.mkstemp(
            prefix=PARTIAL_PREFIX, suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        partial = Path(name)
        try:
            yield partial
            share(partial)
            sync(partial)
            rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically."""
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically; its bytes, not its times and permissions."""
    with atomic_file(target) as partial:
        shutil.copyfile(source, partial)


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


def read_intact(
    path: Path, kind: type[R], list_files: Callable[[R], Iterable[FileRecord]]
) -> R | None:
    """Read the record of a folder; none, with a warning, if it or a file that it lists is damaged.

    Args:
        list_files: returns the files that a record lists, in the folder of the record.
    """
    if not path.exists():
        return None
    try:
        record = read_record(path, kind)
        damaged = [file.path for file in list_files(record) if not is_intact(path.parent, file)]
    except StepError as error:
        damaged = [str(error)]
    if damaged:
        logger.warning("Ignored %s, which is damaged (%s)", path.parent, damaged[0])
        return None
    return record


def load_or_compute(path: Path, kind: type[R], compute: Callable[[], R]) -> R:
    """Read the record that an earlier attempt wrote; compute and write it if there is none."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        record = compute()
        write_record(path, record)
        return record


def remove_partial_files(folder: Path) -> None:
    """Remove the half-written files of killed processes; nobody else may write to the folder."""
    for partial in folder.rglob(f"{PARTIAL_PREFIX}*"):
        partial.unlink()


def partial_folder(path: Path) -> Path:
    """The folder in which `path` is built."""
    return path.parent / f"{PARTIAL_PREFIX}{path.name}"


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `path` in one step, replacing what was there.

    The caller must hold the lock of `path`: what an earlier, killed process left is removed.
    """
    partial = partial_folder(path)
    with write_errors_explained(path):
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
        try:
            yield partial
            move_into_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def move_into_place(partial: Path, path: Path) -> None:
    """Flush everything in `partial` and give it its final name."""
    with write_errors_explained(path):
        for entry in [partial, *sorted(partial.rglob("*"))]:  # folders before what is in them
            share(entry)
            sync(entry)
        if path.exists():
            _replace_folder(partial, path)
        else:
            rename(partial, path)


def _replace_folder(partial: Path, path: Path) -> None:
    """Put a folder in the place of another, which may have readers, and delete that."""
    if exchange(partial, path):
        sync(path.parent)
        shutil.rmtree(partial)
        return
    # The second best: for a moment there is none, but never a part of one.
    aside = path.parent / f"{PARTIAL_PREFIX}old-{path.name}"
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    rename(partial, path)
    shutil.rmtree(aside)


def delete_folder(folder: Path) -> None:
    """Delete a folder; nobody ever sees a part of it under its name."""
    partial = partial_folder(folder)
    folder.rename(partial)
    shutil.rmtree(partial)
