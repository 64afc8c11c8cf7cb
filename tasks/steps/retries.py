"""Which failures are worth another try."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.tasks import exponential_backoff

from tasks.core.errors import TransientError

RETRIES = 3
FIRST_DELAY_SECONDS = 5
DELAYS = exponential_backoff(FIRST_DELAY_SECONDS)
LASTING = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Failures of the operating system that do not go away by waiting."""
JITTER = 0.5
"""Share of a delay by which it varies, so that many runs do not all come back at once."""


def is_transient(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failed step may succeed without anybody changing anything.

    A plain function: Prefect silently never retries with a `functools.partial`.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, (TransientError, OSError)) and not isinstance(error, LASTING)
