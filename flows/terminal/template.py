"""`python -m flows.terminal.template`: make the database that runs copy, before the first run."""

import sys

from flows.terminal.database import TEMPLATE
from flows.terminal.temporary_server import start_separate_server
from tasks.core.settings import read_settings


def main() -> str | None:
    """Make it if it is missing; return what went wrong."""
    if not TEMPLATE.exists():
        start_separate_server(read_settings().server_seconds).stop()
    return None if TEMPLATE.exists() else f"{TEMPLATE} cannot be written: make its folder writable"


if __name__ == "__main__":
    sys.exit(main())
