"""Starts and stops Prefect's server and worker as child processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

CODE = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30
"""How long a command may take to end before it is killed."""
RUN_SECONDS = 45
"""How long runs may take to store their state; docker/compose.yaml allows a little more."""


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on SIGINT, even where a shell's & made it ignored, and on SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


class PrefectCommand:
    """A command of Prefect in a session of its own: Ctrl-C reaches it only through `stop`."""

    def __init__(
        self, name: str, module: str, arguments: list[str], environment: Mapping[str, str]
    ) -> None:
        """Take the module that is the command, its arguments, and what it is called."""
        self.name = name
        self.environment = environment
        self._command = [sys.executable, "-m", module, *arguments]

    def start(self) -> None:
        """Start the command."""
        self.process = subprocess.Popen(
            self._command, env=self.environment, cwd=CODE, start_new_session=True
        )

    def stop(self) -> None:
        """End the command, by force if it takes too long."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the command and its session: a server's child would keep its port."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Worker(PrefectCommand):
    """A worker whose runs end before it does.

    Prefect's worker starts each run in a session of its own, which no signal to the worker reaches.
    A run that gets SIGTERM stores its training's state and reports that it crashed.
    """

    def __init__(self, options: list[str], environment: Mapping[str, str]) -> None:
        """Take the options of `prefect worker start`."""
        super().__init__("worker", "prefect", ["worker", "start", *options], environment)

    def stop(self) -> None:
        """End the runs, then the worker."""
        with suppress(psutil.NoSuchProcess):
            end_processes(psutil.Process(self.process.pid).children())
        super().stop()


def end_processes(processes: list[psutil.Process]) -> None:
    """Send SIGTERM and wait; kill those that take too long."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, RUN_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
