import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from flows.server import serve, worker
from flows.server.serve import obtain_password, serving_environment
from flows.server.supervision import CODE, PrefectCommand
from tasks.core.errors import StepError
from tests.waiting import SOON


@contextmanager
def restored_signals() -> Iterator[None]:
    """A command sets handlers, which other tests must not meet."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def free_port() -> int:
    with socket.create_server((serve.HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_the_password_is_made_once_and_only_the_user_can_read_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    password = obtain_password(home)
    assert obtain_password(home) == password
    assert password.startswith("admin:")
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_runs_read_no_images_outside_the_home_folder_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOENCODER_DATA_ROOT", raising=False)
    assert serving_environment(tmp_path, 1)["AUTOENCODER_DATA_ROOT"] == str(Path.home())
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", "/data")
    assert serving_environment(tmp_path, 1)["AUTOENCODER_DATA_ROOT"] == "/data"


def test_nothing_calls_home_from_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    environment = serving_environment(tmp_path, 4200)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_the_ui_asks_for_a_relative_address(tmp_path: Path) -> None:
    """A tunnel may lead to it from another host and port."""
    stack = yaml.safe_load((CODE / "docker/compose.yaml").read_text())["services"]["server"]
    for environment in (serving_environment(tmp_path, 4200), stack["environment"]):
        assert environment["PREFECT_SERVER_UI_API_URL"] == "/api"


def test_a_bad_variable_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOENCODER_WORKERS", "many")
    with restored_signals():
        assert serve.main(["--home", str(tmp_path), "--port", str(free_port())]) == 1
        assert worker.main([]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("Among the variables AUTOENCODER_*: workers: ")


def test_a_taken_port_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((serve.HOST, 0)) as other, restored_signals():
        port = other.getsockname()[1]
        assert serve.main(["--home", str(tmp_path / "home"), "--port", str(port)]) == 1
    assert capsys.readouterr().err == f"Port {port} is taken: name another with --port\n"
    assert not (tmp_path / "home").exists()


def test_a_server_that_ends_is_not_waited_for() -> None:
    command = PrefectCommand("server", "flows.server.no_such_module", [], os.environ)
    with command as server, pytest.raises(StepError, match="The server ended with exit code 1"):
        serve.wait_until_healthy(server, "http://127.0.0.1:9/api", Path("messages.log"))


def test_a_server_that_never_answers_is_waited_for_as_long_as_the_setting_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOENCODER_SERVER_SECONDS", "0.2")
    command = PrefectCommand("server", "http.server", ["0"], os.environ)
    refusal = "The Prefect server has not answered for 0.2 s: .*AUTOENCODER_SERVER_SECONDS"
    with command as server, pytest.raises(StepError, match=refusal):
        serve.wait_until_healthy(server, "http://127.0.0.1:9/api", Path("messages.log"))


@pytest.mark.parametrize("content", ["", "\n", "admin:\n", "secret\n"])
def test_a_password_file_without_a_password_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(content)
    with pytest.raises(StepError, match=r"has no line `user:password`"):
        obtain_password(tmp_path)


class Ending(PrefectCommand):
    """A command that ends as soon as it has started."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "none", [], {})
        self.starts = 0
        self._command = ["false"]

    def start(self) -> None:
        self.starts += 1
        super().start()
        self.process.wait()


class Living(PrefectCommand):
    """A command that does not end."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "none", [], {})
        self._command = ["sleep", "60"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "WATCH_SECONDS", 0)
    monkeypatch.setattr(serve, "PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_ends_again_and_again_is_given_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = Ending("server")
    server.start()
    ended = pytest.raises(StepError, match=r"The server ended 5 times, each time within 60 s")
    with Living("worker") as worker, ended:
        serve.keep_running(server, worker, free_port(), Path("messages.log"))
    assert server.starts == 5
    assert capsys.readouterr().err.count("it is started again") == 4


@pytest.mark.usefixtures("impatient")
def test_a_server_whose_port_was_taken_is_not_started_again() -> None:
    server = Ending("server")
    with socket.create_server((serve.HOST, 0)) as other:
        port = other.getsockname()[1]
        server.start()
        with pytest.raises(StepError, match=f"another program has taken port {port}"):
            serve.keep_running(server, server, port, Path("messages.log"))
    assert server.starts == 1


def test_the_last_lines_say_what_runs_and_what_to_do(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "artifacts"
    root.mkdir()
    text = serve.describe("http://127.0.0.1:4200", home, root)
    for part in ("http://127.0.0.1:4200/deployments", str(home / "password"), "Ctrl-C"):
        assert part in text
    assert "none has ended yet" in text
    (root / "index.html").touch()
    assert (root / "index.html").as_uri() in serve.describe("http://127.0.0.1:4200", home, root)


def test_the_messages_of_a_command_go_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "messages.log"
    log.write_text("before\n")
    command = PrefectCommand("server", "flows.server.no_such_module", [], os.environ, log)
    with command as server:
        server.process.wait(SOON)
    assert log.read_text().startswith("before\n")
    assert "no_such_module" in log.read_text()
