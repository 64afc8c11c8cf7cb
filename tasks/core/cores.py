"""How many cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
"""A line `NUMBER:CONTROLLERS:/GROUP` for each hierarchy; without controllers, that of version 2."""
QUOTA = "cpu.max"
"""In cgroups of version 2: microseconds in each period, and the period."""
OLD_QUOTA = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
"""The same in version 1."""


def usable_cores() -> int:
    """The cores that this process may run on, or the quota of them if that is less.

    A container has a quota, and so has what systemd starts with `CPUQuota`. A share of a core
    counts as a whole one. macOS only tells how many cores there are.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return math.ceil(min([cores, *_quotas()]))


def _quotas() -> Iterator[float]:
    """In cores, those of the process's cgroups and of all groups around them."""
    for folder in _cgroups():
        for read in (_read_quota, _read_old_quota):
            try:
                quota, period = read(folder)
            except (OSError, ValueError):  # no such version, or no limit, which is the word "max"
                continue
            if quota > 0 and period > 0:
                yield quota / period


def _cgroups() -> Iterator[Path]:
    """The folders of the process's cgroups that may have a quota, and of those around them.

    A container sees its own group as the outermost one, whatever the system calls it.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for hierarchy in {"cpu", controllers} if controllers else {""}:
            for depth in range(len(parts) + 1):
                yield CGROUPS.joinpath(hierarchy, *parts[:depth])


def _read_quota(folder: Path) -> tuple[int, int]:
    quota, period = (folder / QUOTA).read_text().split()
    return int(quota), int(period)


def _read_old_quota(folder: Path) -> tuple[int, int]:
    quota, period = (int((folder / name).read_text()) for name in OLD_QUOTA)
    return quota, period  # without a limit, the quota is -1
