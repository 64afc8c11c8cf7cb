"""`python -m flows.terminal.template`: make the database that runs copy, before the first run."""

from flows.terminal.database import TEMPLATE
from flows.terminal.temporary_server import start_separate_server
from tasks.core.settings import read_settings

if __name__ == "__main__":
    if not TEMPLATE.exists():
        start_separate_server(read_settings().server_seconds).stop()
