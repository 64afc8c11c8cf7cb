"""The decorator that makes a function a Prefect task, and the flow run that is under way."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar, overload

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run, task_run

from tasks.core.device import check_xla_flags
from tasks.core.errors import readable_errors
from tasks.core.file_system import check_file_system
from tasks.core.memory import release_memory
from tasks.core.settings import read_settings
from tasks.core.storage import prepare_artifacts_folder
from tasks.runs.building import run_in_progress
from tasks.steps.retries import DELAYS, JITTER, RETRIES, is_transient

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class CurrentRun(NamedTuple):
    """The flow run that is under way."""

    name: str
    """Prefect's id of the flow run; a retry keeps it."""
    started: datetime


@contextmanager
def current_run() -> Iterator[CurrentRun]:
    """Give the flow run and hold its lock, so that no other process works on it or deletes it.

    Raises:
        StepError: the artifacts folder cannot be used, or a setting is wrong.
    """
    with readable_errors():
        read_settings()  # also of those that are needed at the end
        name, root = str(flow_run.get_id()), prepare_artifacts_folder()
        check_file_system(root)
        check_xla_flags()
        with run_in_progress(name, root):
            yield CurrentRun(name, datetime.now(UTC))


@overload
def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]: ...
@overload
def step(name: str, summarize: Callable[[R], str]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def step(
    name: str, summarize: Callable[[R], str] | None = None
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task that logs its name, its result and its seconds.

    A step finds on disk what was done before, so Prefect's own result cache stays off.

    Args:
        name: of the task run; may contain parameters, as in "Train the {spec.name} model".
        summarize: describes the result in a few words for the log.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def logged(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.monotonic()
            try:
                with readable_errors():
                    result = function(*args, **kwargs)
            finally:
                release_memory()
            seconds = time.monotonic() - started
            facts = f"{summarize(result)}, " if summarize else ""
            logger.info("%s: %s%.1f s", task_run.get_name() or name, facts, seconds)
            return result

        return task(
            task_run_name=name,
            cache_policy=NO_CACHE,
            retries=RETRIES,
            retry_delay_seconds=DELAYS,
            retry_jitter_factor=JITTER,
            retry_condition_fn=is_transient,
        )(logged)

    return decorate
