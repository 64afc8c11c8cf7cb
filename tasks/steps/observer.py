"""Who is told what a run does, beside the Prefect log: the display of a terminal, if there is one.

Steps tell it by themselves (`tasks/steps/step.py`), and a training how far it has come.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class StepLabel(NamedTuple):
    """A step as a display names it."""

    stage: str
    """One word; several steps may share it."""
    subject: str = ""
    """What the step works on, as far as that tells it from the others of the stage."""


class Facts(NamedTuple):
    """What a step found, in a few words."""

    text: str = ""
    number: str = ""
    """The number that matters most, with its name or unit."""


class StepProgress(NamedTuple):
    """How far a step has come."""

    done: int
    total: int
    text: str
    seconds_left: float | None
    """None while there is nothing to compute it from."""


class Observer:
    """Is told what a run does; this one does nothing. Its methods may be called in any thread."""

    def run_began(self, run: str, name: str) -> None:
        """A flow run began.

        Args:
            run: its id.
            name: what people call it.
        """

    def step_began(self, label: StepLabel) -> None:
        """A step began."""

    def step_progressed(self, label: StepLabel, progress: StepProgress) -> None:
        """A step has come so far; may be called many times a second."""

    def step_ended(self, label: StepLabel, facts: Facts, seconds: float) -> None:
        """A step is done."""

    def step_failed(
        self, label: StepLabel, error: BaseException, seconds: float, again: bool
    ) -> None:
        """A step failed, or was interrupted.

        Args:
            again: it is retried.
        """


_observers = [Observer()]
"""The last one is told. Not a context variable: steps may run in threads of Prefect."""


def observer() -> Observer:
    """The observer of this process."""
    return _observers[-1]


@contextmanager
def observed_by(new: Observer) -> Iterator[None]:
    """Let `new` be told what happens within."""
    _observers.append(new)
    try:
        yield
    finally:
        _observers.remove(new)
