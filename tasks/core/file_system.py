"""Try out what the job needs of the file system of its artifacts folder, before it computes."""

import fcntl
import tempfile
from collections.abc import Callable
from pathlib import Path

from tasks.codes.published import ROOT_VARIABLE
from tasks.core.errors import NO_ROOM, StepError
from tasks.core.storage import PARTIAL_PREFIX, rename, write_errors_explained


def check_file_system(root: Path) -> None:
    """Try symbolic links, locks and the flushing of folders in the artifacts folder.

    Raises:
        StepError: one of them fails.
    """
    with (
        write_errors_explained(root / "runs"),
        tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=root) as name,
    ):
        for what, use in FEATURES.items():
            try:
                use(Path(name))
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise  # which says nothing about what it supports
                raise StepError(
                    f"The file system of the artifacts folder {root} does not support {what} "
                    f"({error.strerror}): name a folder on another one with {ROOT_VARIABLE}"
                ) from None


def _make_link(folder: Path) -> None:
    (folder / "new").symlink_to("run")
    (folder / "new").replace(folder / "link")


def _lock(folder: Path) -> None:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _flush_folder(folder: Path) -> None:
    (folder / "partial").touch()
    rename(folder / "partial", folder / "file")


FEATURES: dict[str, Callable[[Path], None]] = {
    "symbolic links": _make_link,
    "locks (flock)": _lock,
    "the flushing of folders (fsync)": _flush_folder,
}
