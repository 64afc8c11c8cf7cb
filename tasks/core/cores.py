"""How many cores this process may use."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container, in cgroups of version 2: microseconds in each period, and the period."""
OLD_QUOTA = (
    Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""The same in version 1."""


def usable_cores() -> int:
    """The cores that this process may run on, or its container's quota of them if that is less.

    A share of a core counts as a whole one. macOS only tells how many cores there are.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return math.ceil(min(cores, _quota()))


def _quota() -> float:
    """In cores; infinite where there is none."""
    for read in (_read_quota, _read_old_quota):
        try:
            quota, period = read()
            if quota > 0 and period > 0:
                return quota / period
        except (OSError, ValueError):  # no such version, or no limit, which is the word "max"
            continue
    return math.inf


def _read_quota() -> tuple[int, int]:
    quota, period = QUOTA.read_text().split()
    return int(quota), int(period)


def _read_old_quota() -> tuple[int, int]:
    quota, period = (int(path.read_text()) for path in OLD_QUOTA)
    return quota, period  # without a limit, the quota is -1
