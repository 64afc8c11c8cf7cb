"""A Prefect server for one run at a terminal, where no server is configured.

Prefect would start one by itself, but late, after imports of its own, and it gives up after 20 s,
which a busy machine needs for the imports alone.
"""

import atexit
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)

from flows.terminal.database import (
    DATABASE_FILE,
    Home,
    choose_home,
    needs_migration,
    new_home,
    own_database,
    prepared_database,
)
from flows.terminal.killed_runs import report_killed_runs
from tasks.codes.published import artifacts_folder
from tasks.core.errors import StepError
from tasks.steps.server import check_server, wait_for_server

logger = logging.getLogger(__name__)

HOST, PORTS = "127.0.0.1", range(8000, 9000)
"""Where Prefect's own temporary servers listen too."""
NAME = "temporary Prefect server"
STOP_SECONDS = 5
ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
}
"""No UI and few background services, as in Prefect's own temporary servers. No types of blocks
either, which no flow here uses: storing them takes half a second, and finding out whether they are
stored imports Dask for almost a second."""
NO_MIGRATION = {"PREFECT_API_DATABASE_MIGRATE_ON_START": "0"}
PROGRAM = """
import os, shutil, signal, socket, sys, threading
def end_with_the_run():
    os.read(0, 1)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
folders = list(filter(None, [sys.argv.pop()]))
threading.Thread(target=end_with_the_run, daemon=True).start()
import gc
gc.disable()
import uvicorn, prefect.server.api.server
gc.freeze()
gc.enable()
application = "prefect.server.api.server:create_app"
config = uvicorn.Config(application, factory=True, log_level="error", lifespan="on")
server = uvicorn.Server(config)
server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
sys.exit(not server.started)
"""
"""Imports Prefect's server without searching for garbage (as `garbage_ignored`, but without the
imports of this project), and leaves its objects out of every later search. The server ends as soon
as its standard input does, which the run's process holds open, however that ends."""


@contextmanager
def temporary_server(start_seconds: float, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Start a server and let the flows that are called within use it.

    It is stopped when this process ends, after Prefect's threads have sent it what they hold. Where
    a server is configured, or temporary ones are switched off, nothing is started.

    Args:
        start_seconds: how long it may take to start.
        meanwhile: called once the server's process has started; should return soon.

    Raises:
        StepError: it ended or did not answer in time, or the configured one cannot be used.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        meanwhile()
        if settings.api.url:
            check_server()
            report_killed_runs(artifacts_folder())
        yield
        return
    home = choose_home()
    with prepared_database(home):
        server = Server(home)
        # What is registered last is called first: Prefect registers its threads when they start.
        atexit.register(server.stop)
        meanwhile()
        server.wait(start_seconds)
    with temporary_settings({PREFECT_API_URL: server.url}):
        if not home.temporary:
            report_killed_runs(artifacts_folder())
        yield


class Server:
    """The process of a server."""

    def __init__(self, home: Home) -> None:
        """Start it."""
        self.home = home
        migration = {} if needs_migration(own_database(home.folder)) else NO_MIGRATION
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        with _bind() as listener:  # its port is ours before the server has started
            self.port = listener.getsockname()[1]
            logger.info("Starting a temporary Prefect server on port %d", self.port)
            self._process = subprocess.Popen(
                _command(listener, home),
                env={
                    **os.environ,
                    **ENVIRONMENT,
                    **migration,
                    **settings,
                    "PREFECT_HOME": str(home.folder),
                },
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C reaches the run first, which tells the server
            )

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://{HOST}:{self.port}/api"

    def wait(self, seconds: float) -> None:
        """Wait until it answers, as long as its process lives; say now and then what for.

        Raises:
            StepError: it ended or did not answer in time.
        """
        wait_for_server(NAME, self.url, seconds, self._check_process)

    def _check_process(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise StepError(
                f"The temporary Prefect server ended with code {code}; its messages are above. "
                "Name a running server with PREFECT_API_URL (make serve), or make the reason go "
                "away"
            )

    def stop(self) -> None:
        """End the process, and remove its folder if nobody needs it any more."""
        with self._process as process:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.home.temporary:
            shutil.rmtree(self.home.folder, ignore_errors=True)


def start_separate_server(start_seconds: float) -> Server:
    """Start a server with a home and a database of its own, whatever is configured.

    Raises:
        StepError: it does not start.
    """
    home = new_home()
    url = f"sqlite+aiosqlite:///{home.folder / DATABASE_FILE}"
    with (
        temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: url}),
        prepared_database(home),
        ExitStack() as stack,
    ):
        server = Server(home)
        stack.callback(server.stop)
        server.wait(start_seconds)
        stack.pop_all()
    return server


def _command(listener: socket.socket, home: Home) -> list[str]:
    """What starts a server on a bound socket, which it inherits."""
    folder = str(home.folder) if home.temporary else ""
    return [sys.executable, "-c", PROGRAM, str(listener.fileno()), folder]


def _bind() -> socket.socket:
    """A socket on a free port.

    Without SO_REUSEADDR, with which two could be bound to the same port.
    """
    for port in random.sample(PORTS, len(PORTS)):
        listener = socket.socket()
        try:
            listener.bind((HOST, port))
        except OSError:
            listener.close()
        else:
            return listener
    raise StepError(f"No port from {PORTS.start} to {PORTS.stop - 1} is free: stop some servers")
