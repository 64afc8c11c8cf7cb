"""Where the steps of a fan-out run: in threads of this process, or on a Dask cluster.

    with fan_out():
        points = gather([train_point.submit(spec) for spec in specs])

Whoever deploys chooses, with environment variables (`tasks/core/settings.py`); the parameters of a
run cannot choose where code is executed. Dask may run a step twice, so steps must be idempotent.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import dask.config
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, wait
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.core.errors import StepError
from tasks.core.settings import Settings, read_settings

logger = logging.getLogger(__name__)

R = TypeVar("R")

QUIET_DASK: dict[str, Any] = {
    "logging.distributed": "warning",
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "warning",
    # Pages about the steps, which every user of the machine could read.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class StoppableThreads(ThreadPoolTaskRunner[Any]):
    """Threads whose steps can ask whether the flow is ending: nothing interrupts a thread."""

    def __init__(self, max_workers: int) -> None:
        """Start no thread yet."""
        super().__init__(max_workers)
        self.stopping = threading.Event()

    def cancel_all(self) -> None:
        """Tell the steps to stop; Prefect calls this when the flow leaves the runner, and waits."""
        self.stopping.set()
        super().cancel_all()


@contextmanager
def fan_out() -> Iterator[None]:
    """Let `step.submit` use the runner that the deployment's settings name.

    Gather the results before leaving: steps that are still at work then are told to stop.

    Raises:
        StepError: the settings are wrong, or the cluster fails.
        OSError: no scheduler answers.
    """
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("fan_out works in a flow only, whose steps it submits")
    settings = read_settings()
    chosen: AbstractContextManager[TaskRunner[Any]] = (
        StoppableThreads(settings.workers)
        if settings.runner == "threads"
        else _dask(settings, str(context.client.api_url))
    )
    with chosen as runner, context.model_copy(update={"task_runner": runner}):
        yield


def gather(futures: list[PrefectFuture[R]]) -> list[R]:
    """Wait for all; return the results in order, or raise the first failure among them."""
    wait(futures)
    return [future.result() for future in futures]


@contextmanager
def _dask(settings: Settings, api_url: str) -> Iterator[TaskRunner[Any]]:
    with dask.config.set(QUIET_DASK):  # before Dask's scheduler and workers are imported
        from distributed import KilledWorker
        from prefect_dask.task_runners import DaskTaskRunner

        if settings.dask_scheduler:
            runner = DaskTaskRunner(address=settings.dask_scheduler)
        else:
            runner = DaskTaskRunner(cluster_kwargs=_local_cluster(settings.workers))
        where = settings.dask_scheduler or f"{settings.workers} processes of this machine"
        logger.info("The steps run on Dask: %s", where)
        runner.logger.setLevel(logging.WARNING)  # its INFO line names a dashboard that is off
        try:
            # A temporary server is named, or each worker would start another one.
            with temporary_settings({PREFECT_API_URL: api_url}), runner:
                yield runner
        except KilledWorker as error:
            raise StepError(
                f"Dask gave up a step after {error.allowed_failures + 1} workers had died of it, "
                f"the last one at {error.last_worker.address}: see that worker's log"
            ) from None


def _local_cluster(workers: int) -> dict[str, Any]:
    """Processes on this machine that nobody else can reach: on loopback, with TLS."""
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "security": True,
        "dashboard_address": "127.0.0.1:0",
        # Dask would count memory-mapped images as a worker's memory, and kill it for them.
        "memory_limit": None,
    }


def watch_for_stop() -> Callable[[], bool]:
    """Give a function that returns whether the present step should stop.

    Call `watch_for_stop` in the step's own thread; the function can then be called in any thread.
    Outside a fan-out it always returns False: an interruption raises in the step itself.
    """
    context = FlowRunContext.get()
    if context and isinstance(context.task_runner, StoppableThreads):
        return context.task_runner.stopping.is_set
    from distributed import get_worker

    try:
        worker, key = get_worker(), get_worker().get_current_task()
    except ValueError:  # not on a Dask worker
        return lambda: False

    def is_unwanted() -> bool:
        # Dask does not interrupt a step; its worker notes that nobody wants the result any more.
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return is_unwanted
