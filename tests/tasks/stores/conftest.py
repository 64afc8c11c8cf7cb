"""A store in memory, and runs of a model that was trained once."""

import pytest
from obstore.store import MemoryStore

from tasks.stores.store import Store

ADDRESS = "s3://bucket/prefix"


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store(MemoryStore(), ADDRESS)
