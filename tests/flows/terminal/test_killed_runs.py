from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling, Running

from flows.terminal.killed_runs import report_killed_runs
from tasks.core.locks import lock
from tasks.runs.building import run_in_progress

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def at_a_terminal() -> None:
    """Its runs have no deployment."""


def start() -> UUID:
    with get_client(sync_client=True) as client:
        return client.create_flow_run(at_a_terminal, state=Running()).id


def state_of(run: UUID) -> StateType | None:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).state_type


def test_runs_of_this_folder_that_have_no_process_have_ended(tmp_path: Path) -> None:
    killed, cancelled, elsewhere = start(), start(), start()
    for run in (killed, cancelled):
        with run_in_progress(str(run), tmp_path):
            report_killed_runs(tmp_path)
            assert state_of(run) == StateType.RUNNING
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(cancelled, Cancelling(), force=True)
    with lock("run-of-another-name", tmp_path):
        pass
    report_killed_runs(tmp_path)
    assert state_of(killed) == StateType.CRASHED
    assert state_of(cancelled) == StateType.CANCELLED
    assert state_of(elsewhere) == StateType.RUNNING
