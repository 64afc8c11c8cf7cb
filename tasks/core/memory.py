"""Memory: how much there is and was used, the search for garbage, what is given back."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of a container, in cgroups of version 2 and 1."""
PROCESS = Path("/proc/self")


def total_memory() -> int:
    """Bytes of memory of this machine, or of the container if that has less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CONTAINER_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such version, or no limit, which is the word "max"
            continue
    return min(limits)


@contextmanager
def garbage_ignored() -> Iterator[None]:
    """Import large packages within this: Python does not search for garbage meanwhile.

    They make hundreds of thousands of objects that all stay. To search them again and again takes a
    fifth of the time of importing Prefect or TensorFlow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()  # also where another thread still imports, which then only takes longer


@contextmanager
def older_objects_kept() -> Iterator[None]:
    """Search only objects that are made within this for garbage.

    Prefect and TensorFlow have made a million objects that stay; whoever makes many more, as a
    figure does, has them searched again and again.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def forget_peak() -> None:
    """Count the peak of this process's memory from now on; does nothing where there is no Linux."""
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")


def peak_memory() -> int | None:
    """The most bytes of this process that were resident since `forget_peak`; none outside Linux."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def release_memory() -> None:
    """Give back what the C library keeps of freed memory: after a training, hundreds of MB.

    It keeps freed memory for each of many threads, so that the next step, which has other threads,
    would take as much again. Does nothing where the C library is not glibc.
    """
    if trim := _find_trim():
        trim(0)


@cache
def _find_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return None
