"""Ends and restarts runs whose process is gone; each worker does, for all runs of its server.

What counts is how a run is for the server, now and for some time, not what events say: those are
lost while the server is away. A run is recognized by our tag, and by a work pool of ours or, if it
was started at a terminal, by having no deployment.

- A run whose own lock in the artifacts folder is held lives, even if it is suspended.
- A run whose lock is free and whose worker has died (its lock is free too) has no process any more:
  it is dead after `SETTLE_SECONDS`. So is a run at a terminal whose lock is free.
- A Pending run that no worker has written its name on is given to a worker again after
  `UNNAMED_SECONDS`.
- Any other run is dead after `AUTOENCODER_SILENCE_SECONDS` without a sign of life (`BEAT`). Time
  counts only while the server answers: its own absence, or a suspension of this process, is no
  silence of the runs.

A run that waits for a person until its time is up goes on as refused.

A dead run that was being cancelled is cancelled; one that had not started waits for a worker again;
one that was running has crashed. Crashed runs are started again, at most `ATTEMPTS` times, and
resume from their checkpoint, except for those at a terminal.
"""

import logging
import threading
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import PrefectException
from prefect.states import AwaitingRetry, Cancelled, Crashed

from flows.server.deploy import WORK_POOLS
from flows.server.supervision import worker_lock
from tasks.core.locks import is_held
from tasks.core.settings import Settings, read_settings
from tasks.runs.building import RUN_LOCK_PREFIX
from tasks.steps.server import BEAT, DECIDE_UNTIL, IN_PROGRESS, TAG

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a crashed run is started again."""
SETTLE_SECONDS = 15
"""A run's process and its worker both report a crash, seconds apart; the second report would end
the next attempt."""
UNNAMED_SECONDS = 60
"""A worker writes its name on a run as soon as the run is Pending; one that has no name by then was
given to a worker that died in between."""
FORGET = timedelta(days=1)
"""A run that crashed longer ago is not started again."""
PAGE = 200
"""Runs in one answer of the server."""


class Patience:
    """For how long each run has been as it is, as far as this process has watched it."""

    def __init__(self, longest_gap: float) -> None:
        """Take the seconds after which the time between two looks does not count."""
        self._longest_gap = longest_gap
        self._looked = 0.0
        self._since: dict[UUID, tuple[Hashable, float]] = {}

    def note(self, runs: Mapping[UUID, Hashable], now: float) -> dict[UUID, float]:
        """Note how the runs are; return for how many seconds each was seen unchanged."""
        if now - self._looked > self._longest_gap:
            self._since = {}
        self._looked = now
        before = self._since
        self._since = {
            run: before[run] if run in before and before[run][0] == facts else (facts, now)
            for run, facts in runs.items()
        }
        return {run: now - since for run, (_, since) in self._since.items()}


def judge(
    run: FlowRun, unchanged: float, lives: bool | None, settings: Settings
) -> State[None] | None:
    """The state that a run should get, if any.

    Args:
        unchanged: seconds for which the run was seen as it is, without a sign of life.
        lives: whether its process does, where that is known.
    """
    if run.state_type == StateType.CRASHED:
        may_restart = 1 <= run.run_count <= ATTEMPTS and unchanged >= SETTLE_SECONDS
        return _again("The run crashed; the next attempt resumes") if may_restart else None
    if lives and run.state_type == StateType.RUNNING:
        return None  # it may have been suspended
    is_pending = run.state_type == StateType.PENDING
    limit = settings.pending_seconds if is_pending else settings.silence_seconds
    if is_pending and run.deployment_id and not _worker_of(run):
        limit = min(limit, UNNAMED_SECONDS)
    if unchanged < (SETTLE_SECONDS if lives is False else limit):
        return None
    reason = "its process is gone" if lives is False else f"no sign of life for {limit:g} s"
    if run.state_type == StateType.CANCELLING:
        return Cancelled(message=f"Cancelled; {reason}")
    if is_pending and run.deployment_id:
        return _again(f"The run had not started; {reason}")
    return Crashed(message=f"The run is dead: {reason}")


def _again(message: str) -> State[None]:
    return AwaitingRetry(scheduled_time=datetime.now(UTC), message=message)


def find_process(run: FlowRun, root: Path) -> bool | None:
    """Whether the process of a run lives: its lock tells, or that of its worker.

    None where neither does: the process or its worker has another artifacts folder, or the run has
    not begun.
    """
    lives = is_held(f"{RUN_LOCK_PREFIX}{run.id}", root)
    if lives or run.deployment_id is None:
        return lives
    return False if is_held(worker_lock(_worker_of(run)), root) is False else None


def _worker_of(run: FlowRun) -> str:
    """The name of the worker that a run was given to; empty if it has not written it yet."""
    return str(run.labels.get("prefect.worker.name", ""))


class Rescue:
    """Looks after the runs of a server."""

    def __init__(self, root: Path) -> None:
        """Take the artifacts folder."""
        self._root = root
        self._settings = read_settings()
        self._patience = Patience(3 * self._settings.look_seconds)

    def look(self, client: SyncPrefectClient, now: float) -> None:
        """Look at all runs once, and give those that are dead another state.

        Raises:
            HTTPError: the server is away.
        """
        runs = {run.id: run for run in find_runs(client)}
        facts = {run.id: (run.state_id, run.labels.get(BEAT)) for run in runs.values()}
        for identity, unchanged in self._patience.note(facts, now).items():
            run = runs[identity]
            state = judge(run, unchanged, find_process(run, self._root), self._settings)
            if state is not None:
                set_state(client, run, state)
        for run in _find_runs(client, [StateType.PAUSED]):
            if is_overdue(run, datetime.now(UTC)):
                refuse(client, run)


def find_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """Our runs that are in progress, or have crashed lately and may be started again."""
    lately = FlowRunFilterEndTime(after_=datetime.now(UTC) - FORGET)
    pools = WorkPoolFilter(name=WorkPoolFilterName(any_=list(WORK_POOLS)))
    at_terminals = FlowRunFilterDeploymentId(is_null_=True)
    return [
        *_find_runs(client, IN_PROGRESS, pools),
        *_find_runs(client, [StateType.CRASHED], pools, end_time=lately),
        *_find_runs(client, IN_PROGRESS, deployment_id=at_terminals),
    ]


def _find_runs(
    client: SyncPrefectClient,
    states: list[StateType],
    pools: WorkPoolFilter | None = None,
    **conditions: Any,
) -> Iterator[FlowRun]:
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        tags=FlowRunFilterTags(all_=[TAG]),
        **conditions,
    )
    offset, found = 0, PAGE
    while found == PAGE:
        page = client.read_flow_runs(
            flow_run_filter=wanted, work_pool_filter=pools, limit=PAGE, offset=offset
        )
        yield from page
        found = len(page)
        offset += found


def set_state(client: SyncPrefectClient, run: FlowRun, state: State[None]) -> None:
    """Give a run another state, unless it got one from someone else meanwhile.

    The server knows no such condition: what was overwritten is put back.
    """
    latest = client.read_flow_run(run.id)
    if latest.state_id != run.state_id:
        return
    accepted = client.set_flow_run_state(run.id, state)
    if accepted.status != SetStateStatus.ACCEPT or accepted.state is None:
        return  # the run has ended
    logger.warning("Run %s is now %s: %s", run.name, state.name, state.message)
    history = sorted(client.read_flow_run_states(run.id), key=lambda found: found.timestamp)
    for earlier, later in pairwise(history):
        if later.id == accepted.state.id and earlier.id != run.state_id:
            client.set_flow_run_state(run.id, earlier, force=True)


def is_overdue(run: FlowRun, now: datetime) -> bool:
    """Whether a run waited for a person, and nobody decided in time."""
    until = run.labels.get(DECIDE_UNTIL)
    return until is not None and now >= datetime.fromisoformat(str(until))


def refuse(client: SyncPrefectClient, run: FlowRun) -> None:
    """Let a run that waits for a person go on, and end as refused."""
    accepted = client.resume_flow_run(run.id, run_input={"publish": False})
    logger.warning("Nobody decided about run %s in time: %s", run.name, accepted.status.value)


@contextmanager
def rescuing(root: Path) -> Iterator[None]:
    """Look after the runs of the server that Prefect's settings name, in a thread."""
    rescue, ended = Rescue(root), threading.Event()
    seconds = read_settings().look_seconds

    def look_often() -> None:
        while not ended.wait(seconds):
            try:
                with get_client(sync_client=True) as client:
                    rescue.look(client, time.monotonic())
            except (httpx.HTTPError, PrefectException) as error:
                logger.debug("The Prefect server did not answer: %s", error)

    context = copy_context()  # it carries Prefect's settings
    threading.Thread(target=context.run, args=(look_often,), name="rescue", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
