import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import StepError
from tasks.core.file_system import check_file_system


def test_a_usual_file_system_passes_and_nothing_is_left(root: Path) -> None:
    check_file_system(root)
    assert not list(root.iterdir())


def refuse_fsync_of_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


def refuse(reason: int) -> Any:
    def call(*_: Any, **__: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    return call


@pytest.mark.parametrize("missing", ["symbolic links", "locks", "the flushing of folders"])
def test_what_the_file_system_lacks_is_named(
    missing: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT, on a network mount without a lock service, and on some FUSE file systems."""
    if missing == "symbolic links":
        monkeypatch.setattr(os, "symlink", refuse(errno.EPERM))
    elif missing == "locks":
        monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    else:
        refuse_fsync_of_folders(monkeypatch)
    with pytest.raises(
        StepError, match=f"does not support {missing}.*: name a folder on another .*ARTIFACTS"
    ):
        check_file_system(root)
    assert not list(root.iterdir())


def test_a_full_disk_lacks_nothing_but_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "symlink", refuse(errno.ENOSPC))
    with pytest.raises(StepError, match=r"cannot be written \(No space left.*: make room"):
        check_file_system(root)
