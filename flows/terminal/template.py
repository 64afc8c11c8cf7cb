"""`python -m flows.terminal.template`, after installation: make the database that runs copy."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_HOME,
    temporary_settings,
)

from flows.terminal.database import DATABASE_FILE, TEMPLATE
from flows.terminal.temporary_server import Server
from tasks.core.settings import read_settings


def create_template(target: Path, start_seconds: float) -> None:
    """Have a temporary server build a database, and keep it.

    Raises:
        StepError: the server does not start.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as name:
        home, whole = Path(name) / "home", Path(name) / target.name
        # Whatever database is configured, the template is one of its own.
        url = f"sqlite+aiosqlite:///{home / DATABASE_FILE}"
        with temporary_settings({PREFECT_HOME: home, PREFECT_API_DATABASE_CONNECTION_URL: url}):
            server = Server()
            try:
                server.wait(start_seconds)
            finally:
                server.stop()
        with closing(sqlite3.connect(home / DATABASE_FILE)) as database:
            database.execute("VACUUM INTO ?", (str(whole),))  # what is in its journal too
        whole.replace(target)


if __name__ == "__main__":
    if not TEMPLATE.exists():
        create_template(TEMPLATE, read_settings().server_seconds)
