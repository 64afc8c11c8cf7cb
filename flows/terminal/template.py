"""`python -m flows.terminal.template`: make the database that runs copy, before the first run."""

import sqlite3
import sys

from flows.terminal.database import TEMPLATE, read_schema
from flows.terminal.temporary_server import start_separate_server
from tasks.core.settings import read_settings


def main() -> str | None:
    """Make it unless there is a sound one; return what went wrong."""
    if not _is_sound():
        start_separate_server(read_settings().server_seconds).stop()
    if _is_sound():
        return None
    return f"{TEMPLATE} cannot be written: make room, or make its folder writable"


def _is_sound() -> bool:
    try:
        return bool(read_schema(TEMPLATE))
    except sqlite3.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
