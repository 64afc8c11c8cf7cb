"""Where steps run that a flow starts many of: threads of its process, or a Dask cluster.

Which of them is for whoever deploys to say, in environment variables: a run's parameters must not
choose where code is executed.

    with fan_out() as runner:
        models = gather([runner.submit(train, spec) for spec in specs])

The steps must be idempotent: one whose worker dies is done again elsewhere, and so may be those
whose results were still there.
"""

import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Literal, ParamSpec, TypeVar, cast

import dask.config
from prefect import Task
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.core.errors import StepError, explain

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

QUIET_DASK: dict[str, Any] = {
    "logging.distributed": "warning",
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "warning",
    # Pages about the steps, which every user of the machine could read.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_abandoned: ContextVar[threading.Event] = ContextVar("abandoned")
"""In threads: set when the flow is interrupted, which its threads would not notice."""


class RunnerSettings(BaseSettings):
    """Where to run; each field is an environment variable that begins with `AUTOENCODER_`."""

    model_config = SettingsConfigDict(env_prefix="AUTOENCODER_", env_ignore_empty=True)

    runner: Literal["threads", "dask"] = "threads"
    workers: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1, le=1024)
    """Threads, or processes of a local cluster; a cluster that is named has its own."""
    dask_scheduler: str | None = Field(None, pattern=r"^(tcp|tls)://")
    """Of a cluster that is there; without it, one is started for each run, on this machine."""


def read_settings() -> RunnerSettings:
    """Read the environment.

    Raises:
        StepError: a variable is not what it can be.
    """
    try:
        settings = RunnerSettings()
    except ValidationError as error:
        raise StepError(f"Among the variables AUTOENCODER_*: {explain(error)}") from None
    if settings.dask_scheduler and settings.runner != "dask":
        raise StepError("AUTOENCODER_DASK_SCHEDULER is set: set AUTOENCODER_RUNNER to dask too")
    return settings


class FanOut:
    """A started task runner."""

    def __init__(self, runner: TaskRunner[Any]) -> None:
        """Submit to `runner`."""
        self._runner = runner

    def submit(
        self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> PrefectFuture[R]:
        """Run a step of `flows` there when there is room."""
        parameters = inspect.signature(step).bind(*args, **kwargs).arguments
        future: PrefectFuture[R] = self._runner.submit(cast("Task[P, R]", step), parameters)
        return future


def gather(futures: Sequence[PrefectFuture[R]]) -> list[R]:
    """Wait until all have ended; their results in order, or the first failure among them."""
    for future in futures:
        future.wait()
    return [future.result() for future in futures]


@contextmanager
def fan_out() -> Iterator[FanOut]:
    """Give the runner that this deployment names; gather what was submitted before leaving.

    Raises:
        StepError: the deployment's settings are wrong, or the cluster fails.
        OSError: no scheduler answers.
    """
    settings = read_settings()
    start = _start_threads if settings.runner == "threads" else _start_dask
    with start(settings) as started:
        yield FanOut(started)


@contextmanager
def _start_threads(settings: RunnerSettings) -> Iterator[TaskRunner[Any]]:
    """Threads; leaving them waits for the steps under way, so an interruption tells them to end."""
    abandoned = threading.Event()
    token = _abandoned.set(abandoned)
    try:
        runner: TaskRunner[Any] = ThreadPoolTaskRunner(settings.workers)
        with runner:
            try:
                yield runner
            except BaseException:
                abandoned.set()
                raise
    finally:
        _abandoned.reset(token)


@contextmanager
def _start_dask(settings: RunnerSettings) -> Iterator[TaskRunner[Any]]:
    with dask.config.set(QUIET_DASK):  # before Dask is loaded, which reads it
        from distributed import KilledWorker
        from prefect_dask.task_runners import DaskTaskRunner

        where = settings.dask_scheduler or f"{settings.workers} processes of this machine"
        logger.info("The steps run on Dask: %s", where)
        runner = (
            DaskTaskRunner(address=settings.dask_scheduler)
            if settings.dask_scheduler
            else DaskTaskRunner(cluster_kwargs=_local_cluster(settings.workers))
        )
        runner.logger.setLevel(logging.WARNING)  # it names a dashboard that is not there
        try:
            with _same_server(), runner:
                yield runner
        except KilledWorker as error:
            raise StepError(
                f"Dask gave up a step after {error.allowed_failures + 1} workers had died of it, "
                f"the last one at {error.last_worker.address}: see that worker's log"
            ) from None


def _local_cluster(workers: int) -> dict[str, Any]:
    """Processes on this machine that nobody else can reach: loopback, keys of their own."""
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "security": True,
        "dashboard_address": "127.0.0.1:0",
        # Dask would count memory-mapped images as a worker's memory, and kill it for them.
        "memory_limit": None,
    }


def _same_server() -> AbstractContextManager[Any]:
    """Let the workers report to a temporary server of this process: each would start its own."""
    context = FlowRunContext.get()
    if PREFECT_API_URL.value() or context is None:
        return nullcontext()
    return temporary_settings({PREFECT_API_URL: str(context.client.api_url)})


def watch_for_abandonment() -> Callable[[], bool]:
    """Give a function that tells whether nobody waits for the present step any more.

    To be called in the step's own thread; the function can then be called in any.
    """
    if abandoned := _abandoned.get(None):
        return abandoned.is_set
    from distributed import get_worker

    try:
        worker, key = get_worker(), get_worker().get_current_task()
    except ValueError:  # an ordinary call: whatever interrupts it raises where it is
        return lambda: False
    # Dask does not interrupt what a worker executes; it notes there that nobody wants it.
    return lambda: key not in worker.state.tasks or worker.state.tasks[key].state == "cancelled"
