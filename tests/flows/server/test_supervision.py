import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.server import supervision
from flows.server.supervision import PrefectCommand, Worker, end_processes, worker_lock
from tasks.core.locks import is_held
from tests.waiting import SOON, wait_until

OBEDIENT = """
import pathlib, signal, sys
def end(number, frame):
    pathlib.Path(sys.argv[1]).write_text("stored")
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def started(program: str, *arguments: str) -> psutil.Process:
    """A process that has installed its signal handlers."""
    process = psutil.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    return process


def test_processes_end_in_order_or_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "RUN_SECONDS", 3)
    obedient, stubborn = started(OBEDIENT, str(tmp_path / "state")), started(STUBBORN)
    end_processes([obedient, stubborn])
    assert (tmp_path / "state").read_text() == "stored"
    assert obedient.wait(SOON) == 1
    assert stubborn.wait(SOON) == -signal.SIGKILL


def test_processes_that_are_gone_are_no_trouble(tmp_path: Path) -> None:
    """Some end between the look at a worker's children and the signal, some while it waits."""
    gone, leaving = started(OBEDIENT, str(tmp_path / "a")), started(OBEDIENT, str(tmp_path / "b"))
    gone.kill()
    gone.wait()
    leaving.terminate()
    end_processes([gone, leaving])
    assert not leaving.is_running()


def test_a_worker_that_is_gone_is_stopped_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker([], os.environ, tmp_path)
    monkeypatch.setattr(worker, "_command", ["true"])
    with worker:
        worker.process.wait()
    assert worker.process.returncode == 0


def test_a_command_runs_in_a_session_of_its_own_and_ends() -> None:
    with PrefectCommand("version", "prefect", ["version"], os.environ) as command:
        assert os.getsid(command.process.pid) == command.process.pid
    assert command.process.poll() is not None


def test_a_worker_s_runs_end_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is a shell here; its child, in a session of its own, stands for a run."""
    worker, state, ready = Worker([], os.environ, tmp_path), tmp_path / "state", tmp_path / "ready"
    script = 'setsid "$0" -c "$1" "$2" > "$3" & wait; sleep 600'
    command = ["sh", "-c", script, sys.executable, OBEDIENT, str(state), str(ready)]
    monkeypatch.setattr(worker, "_command", command)
    with worker:
        wait_until(lambda: ready.exists() and ready.read_text())
    assert state.read_text() == "stored"
    assert worker.process.returncode == -signal.SIGTERM


def test_the_lock_of_a_worker_tells_whether_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start has a name of its own; the worker is a process that only waits."""
    worker = Worker([], os.environ, tmp_path)
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    monkeypatch.setattr(worker, "_command", command)
    names = []
    for _ in range(2):
        worker.start()
        name = str(worker.process.args[-1])  # type: ignore[index]  # a list of text
        assert is_held(worker_lock(name), tmp_path)
        worker.kill()
        names.append(name)
    assert [is_held(worker_lock(name), tmp_path) for name in names] == [False, False]
    assert names[0] != names[1]
    assert is_held(worker_lock("other"), tmp_path) is None
