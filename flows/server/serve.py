"""`make serve`: a Prefect server, a worker and the deployments on this machine, with one command.

Everything listens on loopback and needs the password that is made at the first start. Ctrl-C stops
all of it.
"""

import argparse
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Self

import httpx

from flows.server.deploy import CODE, WORK_POOL
from tasks.core.settings import PREFIX, read_settings

HOME = CODE / ".prefect"
HOST = "127.0.0.1"
USER = "admin"
START_SECONDS = 90
STOP_SECONDS = 30
WATCH_SECONDS = 2
"""How often to look whether the server and the worker are still there."""


def main(arguments: list[str]) -> int:
    """Start everything, wait for Ctrl-C, stop everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--home", type=Path, default=HOME, help="folder of the database and the password"
    )
    options = parser.parse_args(arguments)
    if port_is_taken(options.port):
        print(f"Port {options.port} is taken: name another with --port", file=sys.stderr)
        return 1
    environment = serving_environment(options.home, options.port)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell's & made SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    server = Service(["server", "start", "--host", HOST, "--port", str(options.port)], environment)
    worker = Service(["worker", "start", "--pool", WORK_POOL, "--type", "process"], environment)
    try:
        with server:
            wait_until_healthy(server)
            register(environment)
            with resuming_runs(environment), worker:
                print(
                    f"\nThe UI is at http://{HOST}:{options.port}; the password it asks for is the "
                    f"line in {password_path(options.home)}. Ctrl-C stops everything.\n",
                    flush=True,
                )
                keep_running(server, worker)
    except KeyboardInterrupt:
        print("Stopped")
    except (RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def port_is_taken(port: int) -> bool:
    """Whether something else serves there; it could pass for our server."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def password_path(home: Path) -> Path:
    """The file with `user:password`."""
    return home / "password"


def obtain_password(home: Path) -> str:
    """Read the password, made at the first start; nobody else can read it, nor the database."""
    path = password_path(home)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{USER}:{secrets.token_urlsafe(24)}\n")
    return path.read_text().strip()


def serving_environment(home: Path, port: int) -> dict[str, str]:
    """What the server, the worker and the runs it starts have in their environment.

    Secrets are in no argument list: other users of the machine can read those.
    """
    password = obtain_password(home)
    return {
        **os.environ,
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "AUTOENCODER_CODE": str(CODE),
        # Whoever may start runs must not read every image file of the machine with them.
        f"{PREFIX}DATA_ROOT": str(read_settings().data_root or Path.home()),
    }


def register(environment: dict[str, str]) -> None:
    """Register the deployments, without Prefect's advice to start a worker.

    Raises:
        RuntimeError: that failed; the message is what Prefect said.
    """
    command = [sys.executable, "-m", "flows.server.deploy"]
    ended = subprocess.run(
        command, check=False, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if ended.returncode:
        raise RuntimeError(f"Nothing could be registered:\n{ended.stdout.decode()}")


class Service:
    """A command of Prefect's in the background."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Take the command's words after `prefect`."""
        self.name = command[0]
        self.environment = environment
        self._command = [sys.executable, "-m", "prefect", *command]

    def start(self) -> None:
        """Start it in a session of its own, as Ctrl-C is for us: we stop the others in order."""
        self.process = subprocess.Popen(
            self._command, env=self.environment, cwd=CODE, start_new_session=True
        )

    def stop(self) -> None:
        """Stop it, by force if it must be."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.sweep()

    def sweep(self) -> None:
        """End what it left behind: a server's child has its port, a worker's run no supervisor."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def keep_running(*services: Service) -> NoReturn:
    """Start again whatever ends by itself, as nobody may be there to do it."""
    while True:
        time.sleep(WATCH_SECONDS)
        for service in services:
            if service.process.poll() is not None:
                print(
                    f"The {service.name} ended with exit code {service.process.returncode}; "
                    "it is started again",
                    file=sys.stderr,
                    flush=True,
                )
                service.sweep()
                service.start()


def client_of(environment: dict[str, str]) -> httpx.Client:
    """A client of the server's API."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    url = environment["PREFECT_API_URL"]
    return httpx.Client(base_url=url, auth=(user, password), trust_env=False, timeout=30)


def wait_until_healthy(server: Service) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: it ended, its port being taken, for example.
        TimeoutError: it does not answer.
    """
    end = time.monotonic() + START_SECONDS
    with client_of(server.environment) as client:
        while time.monotonic() < end:
            if server.process.poll() is not None:
                raise RuntimeError(f"The server ended with exit code {server.process.returncode}")
            with suppress(httpx.TransportError):
                if client.get("health").is_success:
                    return
            time.sleep(0.5)
    raise TimeoutError(f"No server answers at {client.base_url} after {START_SECONDS} s")


@contextmanager
def resuming_runs(environment: dict[str, str]) -> Iterator[None]:
    """Let the runs that end with their worker go on when there is a worker again."""
    try:
        yield
    except KeyboardInterrupt:
        with client_of(environment) as client:
            _give_back_runs(client)
        raise


def _give_back_runs(client: httpx.Client) -> None:
    under_way = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}},
        "work_pools": {"name": {"any_": [WORK_POOL]}},
    }
    crashed = {"type": "CRASHED", "message": "The worker was stopped"}
    again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Waits for a worker"}
    for run in client.post("flow_runs/filter", json=under_way).raise_for_status().json():
        for state in (crashed, again):  # the first one frees the run's concurrency slot
            transition = {"state": state, "force": state is again}
            client.post(f"flow_runs/{run['id']}/set_state", json=transition).raise_for_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
