"""`python -m flows.terminal.template`: make the database that runs copy, before the first run."""

from contextlib import ExitStack

from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from flows.terminal.database import (
    DATABASE_FILE,
    TEMPLATE,
    new_home,
    prepared_database,
)
from flows.terminal.temporary_server import Server
from tasks.core.settings import read_settings


def create_template(start_seconds: float) -> None:
    """Have a temporary server build a database, of which a copy is kept.

    Raises:
        StepError: the server does not start.
    """
    home = new_home()
    # Whatever database is configured, the template is one of its own.
    url = f"sqlite+aiosqlite:///{home.folder / DATABASE_FILE}"
    with (
        temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: url}),
        ExitStack() as stack,
        prepared_database(home),
    ):
        server = Server(home)
        stack.callback(server.stop)  # after the database was copied
        server.wait(start_seconds)


if __name__ == "__main__":
    if not TEMPLATE.exists():
        create_template(read_settings().server_seconds)
