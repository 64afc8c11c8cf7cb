import time
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling, Crashed

from tasks.steps import server
from tasks.steps.server import BEAT, end_if_unwanted, watched
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("prefect_server")


class EndedError(Exception):
    """Instead of the end of the process."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process would have ended."""
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise EndedError

    monkeypatch.setattr("tasks.steps.server.os._exit", end)
    monkeypatch.setattr("tasks.steps.server.logging.shutdown", lambda: None)
    monkeypatch.setenv("AUTOENCODER_BEAT_SECONDS", "0.05")
    return codes


def test_a_run_that_is_wanted_tells_that_it_lives(ends: list[int]) -> None:
    @flow
    def living() -> None:
        end_if_unwanted()
        with watched(), get_client(sync_client=True) as client:
            run = UUID(str(flow_run.get_id()))
            wait_until(lambda: int(client.read_flow_run(run).labels.get(BEAT, 0)) > 1)

    living()
    assert ends == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_that_is_deleted_ends(ends: list[int]) -> None:
    @flow
    def deleted() -> None:
        with get_client(sync_client=True) as client:
            client.delete_flow_run(UUID(str(flow_run.get_id())))
        with watched():
            wait_until(lambda: ends)
        with pytest.raises(EndedError):
            end_if_unwanted()

    with pytest.raises(ObjectNotFound):
        deleted()
    assert ends == [1, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("state", [Crashed(), Cancelling()])
def test_an_attempt_that_is_not_the_current_one_ends(
    state: State[None], ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def superseded() -> None:
        own = server._own_run().model_copy(update={"deployment_id": uuid4()})
        monkeypatch.setattr(server, "_own_run", lambda: own)
        with watched(), get_client(sync_client=True) as client:
            client.set_flow_run_state(own.id, state, force=True)
            wait_until(lambda: ends)

    superseded(return_state=True)
    assert ends == [0]


def test_a_run_at_a_terminal_that_counts_as_dead_goes_on_and_ends_as_usual(
    ends: list[int],
) -> None:
    """As after a night of a laptop; nobody starts it again."""

    @flow
    def slept() -> UUID:
        run = UUID(str(flow_run.get_id()))
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, Crashed(), force=True)
        end_if_unwanted()
        return run

    run = slept()
    assert ends == []
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).state_type == StateType.COMPLETED


def test_a_run_goes_on_while_the_server_is_away(
    ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def alone() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(server, "_client", lambda: unreachable())
            end_if_unwanted()
            with watched():
                time.sleep(0.1)

    alone()
    assert ends == []


def unreachable() -> object:
    raise httpx.ConnectError("no server")
