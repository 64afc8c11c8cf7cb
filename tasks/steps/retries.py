"""Which failures of a step are retried, and when."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.tasks import exponential_backoff

from tasks.core.errors import TransientError, may_pass

RETRIES = 3
DELAYS = exponential_backoff(5)
"""Seconds before each retry: 5, 10, 20."""
JITTER = 0.5
"""Share by which a delay varies at random, so that many runs do not retry at the same moment."""


def is_transient(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failed step may succeed when it is simply repeated.

    A plain function: with a `functools.partial` Prefect silently never retries.
    """
    error = state.result(raise_on_failure=False)
    if isinstance(error, OSError):
        return may_pass(error)
    return isinstance(error, TransientError)
