"""Locks among real processes: a thread cannot be killed."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.locks import is_held, lock, lock_if_free, lock_path
from tests.waiting import wait_until

HOLD = """
import sys, time
from pathlib import Path
from tasks.core.locks import lock, lock_path
root, seconds, remove = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
print("started", flush=True)
with lock("name", root):
    print("holds", time.monotonic(), flush=True)
    time.sleep(seconds)
    if remove:
        lock_path("name", root).unlink()
    print("releases", time.monotonic(), flush=True)
"""
"""A process that holds the lock for some seconds and may remove its file before it releases it."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes = []

    def start(seconds: float, *remove: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(tmp_path), str(seconds), *remove]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert read_line(process) == ["started"]
        return process

    yield start
    for process in processes:
        process.kill()
        with process:
            pass


def read_line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_a_waiting_thread_logs_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    entered = threading.Event()

    def enter() -> None:
        with lock("name", tmp_path):
            entered.set()

    with lock("name", tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        wait_until(lambda: caplog.messages)
        assert not entered.wait(0.2)
        assert caplog.messages == ["Waiting for another process that holds the lock name"]
    thread.join()
    assert entered.is_set()


def test_a_killed_process_holds_no_lock(tmp_path: Path, start: Start) -> None:
    holder = start(100)
    assert read_line(holder)[0] == "holds"
    with lock_if_free("name", tmp_path) as free:
        assert not free
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_if_free("name", tmp_path) as free:
        assert free


def test_one_waiting_process_at_a_time_gets_the_lock_of_a_killed_one(start: Start) -> None:
    holder = start(100)
    assert read_line(holder)[0] == "holds"
    waiting = [start(0.2) for _ in range(2)]
    holder.send_signal(signal.SIGKILL)
    assert_one_after_the_other(waiting)


def test_waiting_processes_survive_the_removal_of_the_file(tmp_path: Path, start: Start) -> None:
    """Otherwise one would hold the lock of the removed file, the other that of a new one."""
    with lock("name", tmp_path):
        waiting = [start(0.2, "remove"), start(0.2)]
        time.sleep(0.2)  # both have the file open, or will open it
        lock_path("name", tmp_path).unlink()
    assert_one_after_the_other(waiting)


def assert_one_after_the_other(waiting: list[subprocess.Popen[str]]) -> None:
    outputs = [process.communicate()[0].split() for process in waiting]
    spans = sorted((float(output[1]), float(output[3])) for output in outputs)
    assert [output[::2] for output in outputs] == [["holds", "releases"]] * len(waiting)
    for (_, released), (held, _) in pairwise(spans):
        assert released <= held


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock("name", tmp_path):
        raise RuntimeError
    with lock_if_free("name", tmp_path) as free:
        assert free


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(StepError, match=r"name\.lock cannot be written"), lock("name", tmp_path):
        pass


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    assert is_held("name", tmp_path) is None
    with lock("name", tmp_path):
        assert is_held("name", tmp_path)
    assert is_held("name", tmp_path) is False
