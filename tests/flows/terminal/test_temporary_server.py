import atexit
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows.terminal import temporary_server as module
from flows.terminal.temporary_server import Server, temporary_server
from tasks.core.errors import StepError

SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
time.sleep(float(sys.argv[2]))
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> None:
    """Let another program be the server."""
    monkeypatch.setattr(
        module, "_command", lambda port: [sys.executable, "-c", program, str(port), *arguments]
    )


def test_a_slow_server_is_waited_for_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, SERVER, "1.5")
    monkeypatch.setattr(module, "REMIND_SECONDS", 0.5)
    caplog.set_level(logging.INFO)
    server = Server()
    try:
        server.wait(60)
    finally:
        server.stop()
    waiting = [line for line in caplog.messages if "Waiting for the temporary" in line]
    assert len(waiting) >= 2
    assert "which has been starting for 1 s" in waiting[1]


def test_a_server_that_never_answers_fails_the_run_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(monkeypatch, "import time; time.sleep(60)")
    server = Server()
    try:
        with pytest.raises(StepError, match="not answered for 0.3 s: .*AUTOENCODER_SERVER_SECONDS"):
            server.wait(0.3)
    finally:
        server.stop()


def test_a_server_that_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "raise SystemExit(7)")
    server = Server()
    with pytest.raises(StepError, match="ended with code 7"):
        server.wait(60)
    server.stop()


@pytest.mark.parametrize(("needed", "expected"), [(True, "unset"), (False, "0")])
def test_a_database_of_this_version_is_not_migrated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needed: bool, expected: str
) -> None:
    monkeypatch.delenv("PREFECT_API_DATABASE_MIGRATE_ON_START", raising=False)
    monkeypatch.setattr(module, "needs_migration", lambda: needed)
    told = tmp_path / "told"
    program = (
        "import os, pathlib, sys\n"
        "told = os.environ.get('PREFECT_API_DATABASE_MIGRATE_ON_START', 'unset')\n"
        "pathlib.Path(sys.argv[2]).write_text(told)\n"
    )
    stand_in(monkeypatch, program + SERVER.replace("sys.argv[2]", "0"), str(told))
    server = Server()
    try:
        server.wait(60)
    finally:
        server.stop()
    assert told.read_text() == expected


def test_flows_use_the_server_as_soon_as_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SERVER, "0")
    for name in ("prepare_database", "note_migration"):
        monkeypatch.setattr(module, name, lambda: None)
    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", stops.append)
    called = []
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with temporary_server(60, lambda: called.append("meanwhile")):
            url = get_current_settings().api.url
        assert get_current_settings().api.url is None
    (stop,) = stops
    stop()
    assert str(url).startswith("http://127.0.0.1:8")
    assert called == ["meanwhile"]


def test_nothing_is_started_where_a_server_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "Server")
    called = []
    url = "http://127.0.0.1:1/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        temporary_server(60, lambda: called.append("meanwhile")),
    ):
        assert get_current_settings().api.url == url
    assert called == ["meanwhile"]
