"""Memory: how much there is and was used, the search for garbage, what is given back."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tasks.core.cores import usable_cores

CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of a container, in cgroups of version 2 and 1."""
PROCESS = Path("/proc/self")
M_ARENA_MAX = -8
"""The number of this limit in glibc's malloc.h, see mallopt(3)."""
MOST_HEAPS = 8
"""Each keeps tens of MB. More than three, on more than two cores, were not measured."""


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
    """Import large packages within this: Python never searches what they make for garbage.

    Prefect and TensorFlow make a million objects that all stay. To search them again and again
    takes a fifth of the time of the imports, and as much of whatever makes many objects later, as
    a figure does.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()  # also where another thread still imports, which then only takes longer
        gc.freeze()


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


def limit_heaps() -> None:
    """Have all threads share a few heaps of the C library; to be called before there are threads.

    By default, glibc gives up to eight heaps to each core, and each keeps tens of MB of what is
    freed: 200 MB in a run. With a single one, training waits for it: on two cores a tenth of its
    time. So there is one for each core and one for the thread that gathers images, up to
    `MOST_HEAPS`. Does nothing where the C library is not glibc.
    """
    if change := _find_function("mallopt"):
        change(M_ARENA_MAX, min(usable_cores() + 1, MOST_HEAPS))


def release_memory() -> None:
    """Give back what nobody uses any more.

    Models and figures refer to themselves, so they stay until Python searches for garbage; what
    glibc keeps of freed memory between blocks in use stays until it is told to trim it.
    """
    gc.collect()
    if trim := _find_function("malloc_trim"):
        trim(0)


@cache
def _find_function(name: str) -> Any:
    """A function of the C library; none where that is not glibc."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return None
