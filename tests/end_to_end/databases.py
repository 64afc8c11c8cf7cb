"""A PostgreSQL cluster of our own, from Debian."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.serving import free_port


@dataclass(frozen=True)
class Cluster:
    """A cluster that is running."""

    version: str
    name: str
    url: str
    """For `PREFECT_SERVER_DATABASE_CONNECTION_URL`."""

    def control(self, action: str) -> None:
        """Do something to it: `start`, `stop` or `restart`."""
        mode = [] if action == "start" else ["--mode", "fast"]
        command = ["pg_ctlcluster", self.version, self.name, action, *mode]
        subprocess.run(command, check=True)


@contextmanager
def postgresql(name: str) -> Iterator[Cluster]:
    """Make a cluster with an empty database for Prefect; nothing of it stays."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    version = max((path.parts[-3] for path in found), key=int)
    port, password = str(free_port()), secrets.token_hex()
    subprocess.run(["pg_createcluster", "--port", port, version, name, "--start"], check=True)
    try:
        for statement in (
            f"CREATE ROLE prefect LOGIN PASSWORD '{password}'",
            "CREATE DATABASE prefect OWNER prefect",
        ):
            psql = ["psql", "--port", port, "--command", statement]
            subprocess.run(["runuser", "-u", "postgres", "--", *psql], check=True, cwd="/")
        url = f"postgresql+asyncpg://prefect:{password}@127.0.0.1:{port}/prefect"
        yield Cluster(version, name, url)
    finally:
        subprocess.run(["pg_dropcluster", "--stop", version, name], check=True)
