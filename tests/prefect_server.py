"""A temporary Prefect server for tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server with a database of its own; it stores events at once."""
    hurry = temporary_settings({PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2})
    with hurry, prefect_test_harness(server_startup_timeout=300):
        yield


def artifacts_of(run: str) -> dict[str, dict[str, Any]]:
    """The artifacts of a flow run on the server, by key."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json=wanted).json()
    return {artifact["key"]: artifact for artifact in found}


def shown_by(show: Callable[[], None]) -> dict[str, dict[str, Any]]:
    """The artifacts of a flow that shows something."""

    @flow
    def showing() -> str:
        show()
        return str(flow_run.get_id())

    return artifacts_of(showing())
