"""Replace a folder so that whoever looks always finds the old one or the new one, whole."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""From Linux's `fcntl.h` and `renameat2(2)`."""
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two files or folders in one step.

    Returns:
        False, and nothing is changed, where the system or the file system cannot do it.

    Raises:
        OSError: it failed for another reason.
    """
    rename: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # not Linux
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    if (reason := ctypes.get_errno()) in UNSUPPORTED:
        return False
    raise OSError(reason, os.strerror(reason), str(first), None, str(second))
