"""A temporary Prefect server for tests."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)

from flows.terminal.temporary_server import start_separate_server

START_SECONDS = 300


@contextmanager
def separate_server() -> Iterator[str]:
    """A temporary Prefect server with a database of its own; gives its API's address."""
    server = start_separate_server(START_SECONDS)
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """Flows that this process calls use such a server, which stores events at once; its address."""
    with temporary_settings({PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2}):
        server = start_separate_server(START_SECONDS)
    atexit.register(server.stop)  # after Prefect's threads have sent what they hold
    with temporary_settings({PREFECT_API_URL: server.url}):
        yield server.url


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
