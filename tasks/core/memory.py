"""Memory that is free in this process, given back to the system."""

import ctypes
from functools import cache
from typing import Any


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
