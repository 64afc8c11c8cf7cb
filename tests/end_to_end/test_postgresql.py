"""`make serve` on PostgreSQL instead of SQLite, from Debian."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.serving import Served, free_port, long_run, serve, wait_until

pytestmark = pytest.mark.timeout(600)
NAME = "autoencoder-flow-test"
PASSWORD = secrets.token_hex()


@pytest.fixture(scope="module")
def version() -> str:
    """The newest PostgreSQL on this machine."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parts[-3] for path in found), key=int)


@pytest.fixture(scope="module")
def on_postgresql(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A database cluster of our own, and a server on it."""
    port = str(free_port())
    subprocess.run(["pg_createcluster", "--port", port, version, NAME, "--start"], check=True)
    try:
        for statement in (
            f"CREATE ROLE prefect LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE prefect OWNER prefect",
        ):
            psql = ["psql", "--port", port, "--command", statement]
            subprocess.run(["runuser", "-u", "postgres", "--", *psql], check=True, cwd="/")
        url = f"postgresql+asyncpg://prefect:{PASSWORD}@127.0.0.1:{port}/prefect"
        folder = tmp_path_factory.mktemp("on-postgresql")
        with serve(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as served:
            yield served
    finally:
        subprocess.run(["pg_dropcluster", "--stop", version, NAME], check=True)


def test_a_run_survives_a_restart_of_the_database(on_postgresql: Served, version: str) -> None:
    run = on_postgresql.start(long_run(seed=1))
    on_postgresql.wait_until_training(run)
    subprocess.run(["pg_ctlcluster", version, NAME, "restart", "--mode", "fast"], check=True)
    ended = on_postgresql.wait_for(run, "Published")
    assert ended["run_count"] == 1
    assert not list(on_postgresql.home.glob("*.db"))
    folder = on_postgresql.artifacts / "neighbors" / run
    wait_until(folder.exists, 90, on_postgresql.tail)
