import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelled, Crashed, Running, Suspended

from flows.server.deploy import WORK_POOL
from flows.server.rescue import (
    ATTEMPTS,
    SETTLE_SECONDS,
    UNNAMED_SECONDS,
    Patience,
    Rescue,
    find_process,
    find_runs,
    judge,
    set_state,
)
from flows.server.supervision import worker_lock
from tasks.core.locks import open_held
from tasks.core.settings import Settings
from tasks.runs.building import run_in_progress
from tasks.steps.server import DECIDE_UNTIL, TAG

SETTINGS = Settings(silence_seconds=300, pending_seconds=600)


def a_run(state: StateType, count: int = 1, worker: str = "w") -> FlowRun:
    facts: dict[str, Any] = {"state_type": state, "run_count": count, "id": uuid4()}
    labels = {"prefect.worker.name": worker}
    return FlowRun(flow_id=uuid4(), state_id=uuid4(), deployment_id=uuid4(), labels=labels, **facts)


def at_terminal(state: StateType) -> FlowRun:
    return a_run(state, worker="").model_copy(update={"deployment_id": None})


@pytest.mark.parametrize(
    ("state", "silence", "expected"),
    [
        (StateType.RUNNING, 300, StateType.CRASHED),
        (StateType.CANCELLING, 300, StateType.CANCELLED),
        (StateType.PENDING, 600, StateType.SCHEDULED),
    ],
)
def test_a_dead_run_gets_the_state_that_it_should_have(
    state: StateType, silence: float, expected: StateType
) -> None:
    lives: bool | None
    for seconds, lives in ((silence, None), (SETTLE_SECONDS, False)):
        run = a_run(state, count=0 if state == StateType.PENDING else 1)
        assert judge(run, seconds - 1, lives, SETTINGS) is None
        found = judge(run, seconds, lives, SETTINGS)
        assert found is not None
        assert found.type == expected


def test_a_pending_run_that_no_worker_wrote_its_name_on_soon_waits_for_another() -> None:
    unnamed, named = (a_run(StateType.PENDING, count=0, worker=name) for name in ("", "w"))
    assert judge(unnamed, UNNAMED_SECONDS - 1, None, SETTINGS) is None
    state = judge(unnamed, UNNAMED_SECONDS, None, SETTINGS)
    assert state is not None
    assert state.name == "AwaitingRetry"
    assert judge(named, UNNAMED_SECONDS, None, SETTINGS) is None, "its image may be on its way"


@pytest.mark.parametrize("state", [StateType.RUNNING, StateType.PENDING])
def test_a_killed_run_at_a_terminal_has_crashed_and_is_not_started_again(
    state: StateType, tmp_path: Path
) -> None:
    run = at_terminal(state)
    assert find_process(run, tmp_path) is None, "it may be on another machine"
    with run_in_progress(str(run.id), tmp_path):
        assert find_process(run, tmp_path)
    assert find_process(run, tmp_path) is False
    assert judge(run, UNNAMED_SECONDS, None, SETTINGS) is None
    found = judge(run, SETTLE_SECONDS, False, SETTINGS)
    assert found is not None
    assert found.type == StateType.CRASHED


def test_a_run_that_is_suspended_is_not_dead() -> None:
    silence = 10 * SETTINGS.silence_seconds
    assert judge(a_run(StateType.RUNNING), silence, True, SETTINGS) is None
    assert judge(a_run(StateType.CANCELLING), silence, True, SETTINGS) is not None


@pytest.mark.parametrize("count", range(ATTEMPTS + 2))
def test_a_crashed_run_is_started_again_unless_it_never_ran_or_did_too_often(count: int) -> None:
    run = a_run(StateType.CRASHED, count)
    assert judge(run, SETTLE_SECONDS - 1, None, SETTINGS) is None
    state = judge(run, SETTLE_SECONDS, None, SETTINGS)
    assert (state is not None) == (1 <= count <= ATTEMPTS)


def test_only_time_in_which_the_server_answers_counts() -> None:
    patience, run = Patience(longest_gap=15), uuid4()
    assert patience.note({run: "a"}, 1000) == {run: 0}
    assert patience.note({run: "a"}, 1010) == {run: 10}
    assert patience.note({run: "b"}, 1020) == {run: 0}  # a sign of life
    assert patience.note({run: "b"}, 1030) == {run: 10}
    assert patience.note({run: "b"}, 1300) == {run: 0}  # the server was away, or we were suspended
    assert patience.note({}, 1310) == {}
    assert patience.note({run: "b"}, 1320) == {run: 0}


def test_a_run_is_gone_when_neither_it_nor_its_worker_lives(tmp_path: Path) -> None:
    run = a_run(StateType.RUNNING)
    assert find_process(run, tmp_path) is None, "its worker has another artifacts folder"
    held = open_held(worker_lock("w"), tmp_path)
    assert find_process(run, tmp_path) is None, "it has not begun, or its worker knows how it ended"
    os.close(held)
    assert find_process(run, tmp_path) is False
    with run_in_progress(str(run.id), tmp_path):
        assert find_process(run, tmp_path)
    assert find_process(run, tmp_path) is False


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@flow(name="retrain")
def same_name() -> None:
    """Someone else's flow may have the name of ours."""


def start(client: SyncPrefectClient, pool: str = WORK_POOL, tags: tuple[str, ...] = (TAG,)) -> UUID:
    """A run of a deployment that says it is running."""
    with contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    identity = client.create_flow(same_name)
    name = f"test-{uuid4()}"
    deployment = client.create_deployment(identity, name, work_pool_name=pool, tags=list(tags))
    run = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(run.id, Running(), force=True)
    return run.id


def test_only_our_runs_are_looked_after(client: SyncPrefectClient) -> None:
    def at_terminal(*tags: str) -> UUID:
        return client.create_flow_run(same_name, tags=tags, state=Running()).id

    ours = {start(client), at_terminal(TAG)}
    others = {start(client, tags=()), start(client, pool="others"), at_terminal()}
    found = {run.id for run in find_runs(client)}
    assert ours <= found
    assert not others & found


def test_a_silent_run_crashes_and_is_started_again(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    identity = start(client)
    rescue, now = Rescue(tmp_path), 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        for _ in range(int(seconds / 10) + 1):
            rescue.look(client, now)
            now += 10

    pass_time(SETTINGS.silence_seconds - 20)
    assert client.read_flow_run(identity).state_type == StateType.RUNNING
    pass_time(20)
    assert client.read_flow_run(identity).state_type == StateType.CRASHED
    pass_time(SETTLE_SECONDS)
    assert client.read_flow_run(identity).state_name == "AwaitingRetry"


def test_a_cancellation_wins(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person cancels between the look at a crashed run and the order to start it again."""
    identity = start(client)
    client.set_flow_run_state(identity, Crashed(), force=True)
    run = client.read_flow_run(identity)
    state = judge(run, SETTLE_SECONDS, None, SETTINGS)
    assert state is not None
    read = client.read_flow_run

    def read_and_cancel(run_id: UUID) -> FlowRun:
        found = read(run_id)
        client.set_flow_run_state(run_id, Cancelled(), force=True)
        return found

    monkeypatch.setattr(client, "read_flow_run", read_and_cancel)
    set_state(client, run, state)
    assert read(identity).state_type == StateType.CANCELLED
    set_state(client, run, state)  # the next look comes too late
    assert read(identity).state_type == StateType.CANCELLED


@pytest.mark.parametrize(("hours", "name"), [(1, "Suspended"), (-1, "Resuming")])
def test_a_run_waits_for_a_person_until_its_time_is_up(
    hours: int, name: str, client: SyncPrefectClient, tmp_path: Path
) -> None:
    identity = start(client)
    until = datetime.now(UTC) + timedelta(hours=hours)
    client.update_flow_run_labels(identity, {DECIDE_UNTIL: until.isoformat()})
    client.set_flow_run_state(identity, Suspended())
    rescue = Rescue(tmp_path)
    for now in range(0, int(3 * SETTINGS.silence_seconds), 100):
        rescue.look(client, now)
    assert client.read_flow_run(identity).state_name == name


def test_a_run_that_somebody_suspended_stays_suspended(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    identity = start(client)
    client.set_flow_run_state(identity, Suspended())
    Rescue(tmp_path).look(client, 0)
    assert client.read_flow_run(identity).state_name == "Suspended"
