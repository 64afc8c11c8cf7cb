"""Waiting for what happens soon, on however busy a machine."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

SOON = 120
"""Seconds in which happens what takes some seconds on a machine that has nothing else to do."""

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    otherwise: Callable[[], str] = lambda: "It did not happen in time",
    seconds: float = SOON,
    every: float = 0.1,
) -> T:
    """Wait for a condition to become true, and return what it returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(every)
    return pytest.fail(otherwise())
