"""The decorator that makes a function a Prefect task, and the flow run that is under way."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.runtime import deployment, flow_run, task_run
from prefect.tasks import exponential_backoff

from tasks.core.device import check_xla_flags
from tasks.core.errors import TransientError, may_pass, readable_errors
from tasks.core.file_system import check_file_system
from tasks.core.memory import forget_peak, peak_memory, release_memory
from tasks.core.settings import read_settings
from tasks.core.storage import prepare_artifacts_folder
from tasks.runs.building import run_in_progress
from tasks.runs.manifest import StepCost
from tasks.steps.observer import Facts, StepLabel, observer
from tasks.steps.server import watched

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 3
DELAYS = exponential_backoff(5)
"""Seconds before each retry: 5, 10, 20."""
JITTER = 0.5
"""Share by which a delay varies at random, so that many runs do not retry at the same moment."""

_label: ContextVar[StepLabel] = ContextVar("label")
_costs: ContextVar[list[StepCost]] = ContextVar("costs")
"""Of the steps of the flow run that is under way."""


class CurrentRun(NamedTuple):
    """The flow run that is under way."""

    name: str
    """Prefect's id of the flow run; a retry keeps it."""
    started: datetime
    can_wait: bool = False
    """Whether it can wait for a person: Prefect suspends only runs of a deployment."""


@contextmanager
def current_run() -> Iterator[CurrentRun]:
    """Give the flow run and hold its lock, so that no other process works on it or deletes it.

    The run is watched meanwhile: its process ends where nobody wants the run any more.

    Raises:
        StepError: the artifacts folder cannot be used, or a setting is wrong.
    """
    with readable_errors():
        read_settings()  # also of those that are needed at the end
        name, root = str(flow_run.get_id()), prepare_artifacts_folder()
        check_file_system(root)
        check_xla_flags()
        observer().run_began(name, str(flow_run.get_name()))
        # For each tag of a task, Prefect asks the server for a slot: a run's own is not its tasks'.
        with TagsContext(current_tags=set()), watched(), run_in_progress(name, root):
            _costs.set([])
            yield CurrentRun(name, datetime.now(UTC), can_wait=deployment.get_id() is not None)


def is_transient(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a failed step may succeed when it is simply repeated.

    A plain function: with a `functools.partial` Prefect silently never retries.
    """
    return is_worth_retrying(state.result(raise_on_failure=False))


def is_worth_retrying(error: object) -> bool:
    """Whether what a step raised may pass by itself."""
    if isinstance(error, OSError):
        return may_pass(error)
    return isinstance(error, TransientError)


def costs_so_far() -> tuple[StepCost, ...]:
    """What the steps of the flow run took that have completed, in their order."""
    return tuple(_costs.get([]))


def current_label() -> StepLabel:
    """The label of the step that is under way in this thread."""
    return _label.get(StepLabel(""))


@overload
def step(name: str, stage: str, *, subject: str = "") -> Callable[[Callable[P, R]], Task[P, R]]: ...
@overload
def step(
    name: str, stage: str, summarize: Callable[[R], Facts], subject: str = ""
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def step(
    name: str,
    stage: str,
    summarize: Callable[[R], Facts] | None = None,
    subject: str = "",
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task that tells the log and the observer what it did.

    A step finds on disk what was done before, so Prefect's own result cache stays off.

    Args:
        name: of the task run; may contain parameters, as in "Train the {spec.name} model".
        stage: of its label for the observer.
        summarize: describes the result in a few words.
        subject: of its label; may contain parameters.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def observed(*args: P.args, **kwargs: P.kwargs) -> R:
            arguments = signature(function).bind(*args, **kwargs).arguments
            label = StepLabel(stage, subject.format(**arguments))
            with readable_errors():
                result, facts, seconds = _observe(
                    label, lambda: function(*args, **kwargs), summarize
                )
            words = ", ".join([*filter(None, facts), f"{seconds:.1f} s"])
            logger.info("%s: %s", task_run.get_name() or name, words)
            return result

        return task(
            task_run_name=name,
            cache_policy=NO_CACHE,
            retries=RETRIES,
            retry_delay_seconds=DELAYS,
            retry_jitter_factor=JITTER,
            retry_condition_fn=is_transient,
        )(observed)

    return decorate


def _observe(
    label: StepLabel, function: Callable[[], R], summarize: Callable[[R], Facts] | None
) -> tuple[R, Facts, float]:
    """Call a step's function; return its result, what is said of it, and its seconds."""
    watching, started, processor = observer(), time.monotonic(), time.process_time()
    forget_peak()
    token = _label.set(label)
    watching.step_began(label)
    try:
        result = function()
    except BaseException as error:
        again = is_worth_retrying(error) and (task_run.get_run_count() or 0) <= RETRIES
        watching.step_failed(label, error, time.monotonic() - started, again)
        raise
    finally:
        _label.reset(token)
        peak = peak_memory()
        release_memory()
    seconds = time.monotonic() - started
    cost = StepCost(
        step=" ".join(filter(None, label)),
        seconds=round(seconds, 3),
        processor_seconds=round(time.process_time() - processor, 3),
        peak_bytes=peak,
    )
    _costs.get([]).append(cost)
    facts = summarize(result) if summarize else Facts()
    watching.step_ended(label, facts, seconds)
    return result, facts, seconds
