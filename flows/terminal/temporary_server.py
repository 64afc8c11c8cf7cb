"""A Prefect server for one run at a terminal, where no server is configured.

Prefect would start one by itself, but late, after imports of its own, and it gives up after 20 s,
which a busy machine needs for the imports alone.
"""

import atexit
import logging
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows.terminal.database import needs_migration, note_migration, prepare_database
from tasks.core.errors import StepError

logger = logging.getLogger(__name__)

HOST, PORTS = "127.0.0.1", range(8000, 9000)
"""Where Prefect's own temporary servers listen too."""
POLL_SECONDS, REMIND_SECONDS, STOP_SECONDS = 0.05, 15, 5
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
import gc
gc.disable()
import uvicorn, prefect.server.api.server
gc.freeze()
gc.enable()
uvicorn.main(prog_name="uvicorn")
"""
"""Imports Prefect's server without searching for garbage (as `garbage_ignored`, but without the
imports of this project), and leaves its objects out of every later search."""


@contextmanager
def temporary_server(start_seconds: float, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Start a server and let the flows that are called within use it.

    It is stopped when this process ends, after Prefect's threads have sent it what they hold. Where
    a server is configured, or temporary ones are switched off, nothing is started.

    Args:
        start_seconds: how long it may take to start.
        meanwhile: called once the server's process has started; should return soon.

    Raises:
        StepError: it ended or did not answer in time.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        meanwhile()
        yield
        return
    prepare_database()
    server = Server()
    # What is registered last is called first: Prefect registers its threads when they start.
    atexit.register(server.stop)
    meanwhile()
    server.wait(start_seconds)
    note_migration()
    with temporary_settings({PREFECT_API_URL: server.url}):
        yield


class Server:
    """The process of a server."""

    def __init__(self) -> None:
        """Start it."""
        self._start()

    def _start(self) -> None:
        self.port = _free_port()
        logger.info("Starting a temporary Prefect server on port %d", self.port)
        migration = {} if needs_migration() else NO_MIGRATION
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self._process = subprocess.Popen(
            _command(self.port), env={**os.environ, **ENVIRONMENT, **migration, **settings}
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
        started = reminded = time.monotonic()
        with httpx.Client(trust_env=False) as client:  # no proxy leads to this machine
            while not self._answers(client):
                now = time.monotonic()
                self._check_process()
                if now - started > seconds:
                    raise StepError(
                        f"The temporary Prefect server has not answered for {seconds:g} s: try "
                        "again when the machine is less busy, set AUTOENCODER_SERVER_SECONDS "
                        "higher, or name a running server with PREFECT_API_URL (make serve)"
                    )
                if now - reminded >= REMIND_SECONDS:
                    reminded = now
                    logger.info(
                        "Waiting for the temporary Prefect server, which has been starting for "
                        "%.0f s",
                        now - started,
                    )
                time.sleep(POLL_SECONDS)

    def _answers(self, client: httpx.Client) -> bool:
        try:
            return client.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def _check_process(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        if not _is_free(self.port):  # another program took the port meanwhile
            self._start()
            return
        raise StepError(
            f"The temporary Prefect server ended with code {code}; its messages are above. Name a "
            "running server with PREFECT_API_URL (make serve), or make the reason go away"
        )

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _command(port: int) -> list[str]:
    """What starts a server."""
    command = [sys.executable, "-c", PROGRAM, "--factory", "prefect.server.api.server:create_app"]
    return [*command, *f"--host {HOST} --port {port} --log-level error --lifespan on".split()]


def _free_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        if _is_free(port):
            return port
    raise StepError(f"No port from {PORTS.start} to {PORTS.stop - 1} is free: stop some servers")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
