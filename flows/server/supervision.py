"""Starts and stops Prefect's server and worker as child processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

import psutil

from tasks.core.locks import open_held

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
        self,
        name: str,
        module: str,
        arguments: list[str],
        environment: Mapping[str, str],
        log: Path | None = None,
    ) -> None:
        """Take the module that is the command, its arguments, and what it is called.

        Its messages are added to the file `log`, or go where those of this process go.
        """
        self.name = name
        self.environment = environment
        self._log = log
        self._command = [sys.executable, "-m", module, *arguments]

    def start(self) -> None:
        """Start the command."""
        self._launch(self._command)

    def _launch(self, command: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        self.started = time.monotonic()
        with self._log.open("ab") if self._log else nullcontext() as output:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=CODE,
                start_new_session=True,
                pass_fds=pass_fds,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
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
    """A worker whose runs end before it does, and of which others can tell whether it lives.

    Prefect's worker starts each run in a session of its own, which no signal to the worker reaches.
    A run that gets SIGTERM stores its training's state and reports that it crashed.

    The server notes at each run the name of the worker that it was given to. The worker's process
    holds a lock of that name in the artifacts folder, which its end releases, however it ends.
    """

    def __init__(
        self,
        options: list[str],
        environment: Mapping[str, str],
        root: Path,
        log: Path | None = None,
    ) -> None:
        """Take the options of `prefect worker start`, the artifacts folder, and a file as above."""
        environment = {**environment, "AUTOENCODER_CODE": str(CODE)}
        super().__init__("worker", "prefect", ["worker", "start", *options], environment, log)
        self._root = root

    def start(self) -> None:
        """Start a worker with a name of its own."""
        name = f"{socket.gethostname()}-{uuid4().hex[:12]}"
        held = open_held(worker_lock(name), self._root)
        try:
            self._launch([*self._command, "--name", name], pass_fds=(held,))
        finally:
            os.close(held)

    def stop(self) -> None:
        """End the runs, then the worker."""
        with suppress(psutil.NoSuchProcess):
            end_processes(psutil.Process(self.process.pid).children())
        super().stop()


def worker_lock(name: str) -> str:
    """The name of the lock that a worker holds."""
    return f"worker-{name}"


def end_processes(processes: list[psutil.Process]) -> None:
    """Send SIGTERM and wait; kill those that take too long."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, RUN_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
