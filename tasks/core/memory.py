"""Memory of this process: when garbage is searched for, and what is given back to the system."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


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
