"""A temporary Prefect server for tests."""

from collections.abc import Iterator

import pytest
from prefect.settings import (
    PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server with a database of its own; it stores events at once."""
    hurry = temporary_settings({PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.2})
    with hurry, prefect_test_harness(server_startup_timeout=90):
        yield
