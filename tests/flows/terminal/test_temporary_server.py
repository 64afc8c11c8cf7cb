import atexit
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import psutil
import pytest
from prefect.settings import (
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)

from flows.terminal import temporary_server as module
from flows.terminal.database import Home
from flows.terminal.temporary_server import Server, temporary_server
from tasks.core.errors import StepError
from tests.waiting import SOON

SERVER = """
import socket, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
time.sleep(float(sys.argv[2]))
server = HTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.server_activate()
server.serve_forever()
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> None:
    """Let another program be the server."""
    monkeypatch.setattr(
        module,
        "_command",
        lambda listener, home: [
            sys.executable,
            "-c",
            program,
            str(listener.fileno()),
            *arguments,
        ],
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, temporary=True)


def test_a_slow_server_is_waited_for_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: Home
) -> None:
    stand_in(monkeypatch, SERVER, "1.5")
    monkeypatch.setattr("tasks.steps.server.REMIND_SECONDS", 0.1)
    caplog.set_level(logging.INFO)
    server = Server(home)
    try:
        server.wait(SOON)
    finally:
        server.stop()
    waiting = [line for line in caplog.messages if "Waiting for the temporary" in line]
    assert len(waiting) >= 2
    told = re.search(r"which has been starting for (\d+) s$", waiting[-1])
    assert told
    assert int(told[1]) >= 1


def test_two_that_start_at_once_have_servers_of_their_own(
    monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    stand_in(monkeypatch, SERVER, "0.5")
    monkeypatch.setattr("random.sample", lambda ports, count: ports)  # the same luck
    servers = [Server(home) for _ in range(2)]
    try:
        for server in servers:
            server.wait(SOON)
        assert len({server.port for server in servers}) == 2
    finally:
        for server in servers:
            server.stop()


def test_a_server_that_never_answers_fails_the_run_in_one_line(
    monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    stand_in(monkeypatch, "import time; time.sleep(600)")
    server = Server(home)
    try:
        with pytest.raises(StepError, match="not answered for 0.3 s: .*AUTOENCODER_SERVER_SECONDS"):
            server.wait(0.3)
    finally:
        server.stop()


def test_a_server_that_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    stand_in(monkeypatch, "raise SystemExit(7)")
    server = Server(home)
    with pytest.raises(StepError, match="ended with code 7"):
        server.wait(SOON)
    server.stop()


@pytest.mark.parametrize(("needed", "expected"), [(True, "unset"), (False, "0")])
def test_a_database_of_this_version_is_not_migrated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Home, needed: bool, expected: str
) -> None:
    monkeypatch.delenv("PREFECT_API_DATABASE_MIGRATE_ON_START", raising=False)
    monkeypatch.setattr(module, "needs_migration", lambda path: needed)
    told = tmp_path / "told"
    program = (
        "import os, pathlib, sys\n"
        "told = os.environ.get('PREFECT_API_DATABASE_MIGRATE_ON_START', 'unset')\n"
        "pathlib.Path(sys.argv[2]).write_text(told)\n"
    )
    stand_in(monkeypatch, program + SERVER.replace("sys.argv[2]", "0"), str(told))
    server = Server(home)
    try:
        server.wait(SOON)
    finally:
        server.stop()
    assert told.read_text() == expected


def test_flows_use_the_server_as_soon_as_it_answers(
    monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    stand_in(monkeypatch, SERVER, "0")
    monkeypatch.setattr(module, "choose_home", lambda: home)
    monkeypatch.setattr(module, "prepared_database", lambda home: nullcontext())
    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", stops.append)
    called = []
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with temporary_server(SOON, lambda: called.append("meanwhile")):
            url = get_current_settings().api.url
        assert get_current_settings().api.url is None
    (stop,) = stops
    assert home.folder.exists()
    stop()
    assert not home.folder.exists()
    assert str(url).startswith("http://127.0.0.1:8")
    assert called == ["meanwhile"]


def test_nothing_is_started_where_a_server_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "Server")
    called: list[str] = []
    monkeypatch.setattr(module, "check_server", lambda: called.append("checked"))
    monkeypatch.setattr(module, "report_killed_runs", lambda root: called.append("reported"))
    url = "http://127.0.0.1:1/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        temporary_server(SOON, lambda: called.append("meanwhile")),
    ):
        assert get_current_settings().api.url == url
    assert called == ["meanwhile", "checked", "reported"]


HOLD_AND_DIE = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_server_of_a_killed_run_ends_and_leaves_nothing(home: Home) -> None:
    waiting = module.PROGRAM.partition("import gc")[0] + "import time; time.sleep(600)"
    command = [sys.executable, "-c", HOLD_AND_DIE, waiting, str(home.folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(run.stdout)).wait(SOON)
    assert not home.folder.exists()
