"""How long each step of a run took."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_durations: ContextVar[dict[str, float] | None] = ContextVar("durations", default=None)


@contextmanager
def collect_durations() -> Iterator[dict[str, float]]:
    """Give a dictionary that fills with the seconds of each step, by name, in order."""
    durations: dict[str, float] = {}
    token = _durations.set(durations)
    try:
        yield durations
    finally:
        _durations.reset(token)


def record_duration(step: str, seconds: float) -> None:
    """Tell whoever collects durations, if anyone does."""
    durations = _durations.get()
    if durations is not None:
        durations[step] = seconds
