"""Faults of a source: a run stops at the first one, an inspection collects all of them.

Both call the same checks: what is wrong is reported with `report_fault`, which raises, unless
somebody collects.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tasks.core.errors import StepError, TransientError

logger = logging.getLogger(__name__)

MOST_NAMED = 100
"""Faults that an inspection names; the others are counted."""


class Faults:
    """What is wrong with a source, and what a person should know about it."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []
        """The first `MOST_NAMED`, one line each."""
        self.notes: list[str] = []
        """What is no fault, but maybe not what was meant."""

    def add(self, message: str) -> None:
        """Count a fault, and name it if it is among the first."""
        self.count += 1
        if len(self.named) < MOST_NAMED:
            self.named.append(message)


_collected: ContextVar[Faults | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_faults() -> Iterator[Faults]:
    """Let `report_fault` collect what it raises otherwise; in this thread alone."""
    faults = Faults()
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def report_fault(fault: str | StepError) -> None:
    """Raise a fault; where faults are collected, note it, and the caller goes on without the part.

    Raises:
        StepError: nobody collects.
    """
    faults = _collected.get()
    if faults is None:
        raise fault if isinstance(fault, StepError) else StepError(fault)
    faults.add(str(fault))


def report_note(message: str) -> None:
    """Log a warning; where faults are collected, note it too."""
    logger.warning("%s", message)
    if faults := _collected.get():
        faults.notes.append(message)


@contextmanager
def faults_reported() -> Iterator[None]:
    """Report an error that ends a part of an inspection, which goes on behind that part."""
    try:
        yield
    except TransientError:  # the whole is tried again
        raise
    except StepError as error:
        report_fault(error)
