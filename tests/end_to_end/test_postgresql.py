"""`make serve` on PostgreSQL instead of SQLite, from Debian."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.databases import Cluster, postgresql
from tests.end_to_end.serving import Served, long_run, serve
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A database cluster of our own."""
    with postgresql("autoencoder-flow-test") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def on_postgresql(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on it."""
    folder = tmp_path_factory.mktemp("on-postgresql")
    with serve(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=cluster.url) as served:
        yield served


def test_a_run_survives_a_restart_of_the_database(on_postgresql: Served, cluster: Cluster) -> None:
    run = on_postgresql.start(long_run(seed=1))
    on_postgresql.wait_until_training(run)
    cluster.control("restart")
    ended = on_postgresql.wait_for(run, "Published")
    assert ended["run_count"] == 1
    assert not list(on_postgresql.home.glob("*.db"))
    folder = on_postgresql.artifacts / "neighbors" / run
    wait_until(folder.exists, on_postgresql.tail)
