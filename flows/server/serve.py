"""`make serve`: a Prefect server, a worker and the deployments on this machine, with one command.

Everything listens on loopback and needs the password that is made at the first start. Ctrl-C stops
all of it.
"""

import argparse
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.server.deploy import WORK_POOL
from flows.server.rescue import rescuing
from flows.server.supervision import CODE, PrefectCommand, Worker, interrupt_on_signals
from tasks.core.errors import StepError
from tasks.core.settings import PREFIX, read_settings
from tasks.core.storage import prepare_artifacts_folder
from tasks.reports.history.page import PAGE_FILE
from tasks.steps.environment import TELEMETRY_OFF
from tasks.steps.server import wait_for_server

HOME = CODE / ".prefect"
HOST = "127.0.0.1"
USER = "admin"
LOGIN_FILE = "password"
"""In the home folder: a line `user:password`."""
UI_API_URL = "/api"
"""For the UI: relative, as a tunnel may lead to the server from another host and port."""
LOG_FILE = "messages.log"
"""In the home folder: what server and worker have to say since the last start."""
WATCH_SECONDS = 2
"""Between two checks whether the server and the worker are still running."""
QUICK_SECONDS, QUICK_ENDS, PAUSE_SECONDS = 60, 5, 3
"""A command that ends so soon after its start, so often in a row, is not started again; before each
new start, the pause grows by so much."""


def main(arguments: list[str]) -> int:
    """Start everything, wait for Ctrl-C, stop everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--home", type=Path, default=HOME, help="folder of the database and the password"
    )
    options = parser.parse_args(arguments)
    interrupt_on_signals()
    try:
        serve(options.home, options.port)
    except KeyboardInterrupt:
        print("Stopped")
    except (StepError, OSError, httpx.HTTPError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(home: Path, port: int) -> NoReturn:
    """Serve until interrupted.

    Raises:
        KeyboardInterrupt: everything has been stopped.
        StepError, OSError: something did not start; the message has the reason.
        HTTPError: the server failed while everything was stopped.
    """
    if port_is_taken(port):
        raise StepError(f"Port {port} is taken: name another with --port")
    environment, root = serving_environment(home, port), prepare_artifacts_folder()
    options = ["--host", HOST, "--port", str(port)]
    log = home.resolve() / LOG_FILE
    log.write_bytes(b"")
    server = PrefectCommand("server", "flows.server.start", options, environment, log)
    worker = Worker(["--pool", WORK_POOL, "--type", "process"], environment, root, log)
    with server, client_of(environment) as client:
        wait_until_healthy(server, environment["PREFECT_API_URL"], log)
        register(environment)
        with worker, prefect_settings(environment), rescuing(root):
            print(describe(f"http://{HOST}:{port}", home, root), flush=True)
            try:
                keep_running(server, worker, port, log)
            except KeyboardInterrupt:
                runs = find_runs(client, ["PENDING", "RUNNING"])
                worker.stop()
                schedule_again(client, runs)
                raise


def describe(address: str, home: Path, root: Path) -> str:
    """What runs now, and what a person can do with it, in lines."""
    page = root.resolve() / PAGE_FILE
    lines = [
        "",
        "Prefect server and worker are running.",
        f"  The UI is at  {address}",
        f"  Password      the whole line in {home / LOGIN_FILE}",
        f"  A first look  {address}/deployments: quick-look, ⋮, Custom run, Submit: a minute",
        "  Retraining    the same with weekly; by itself on Sundays at 3:00 (Europe/Berlin)",
        f"  All runs      {page.as_uri() if page.exists() else 'none has ended yet'}",
        f"  Messages      {home / LOG_FILE}",
        "  Ctrl-C stops everything; runs resume at the next start.",
        "",
    ]
    return "\n".join(lines)


def port_is_taken(port: int) -> bool:
    """Whether another program serves there; it could pass for our server."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def obtain_password(home: Path) -> str:
    """Read the password, made at the first start; only the user can read the folder.

    Raises:
        StepError: there is none in its file; the server would refuse everybody, or nobody.
    """
    path = home / LOGIN_FILE
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{USER}:{secrets.token_urlsafe(24)}\n")
    password = path.read_text().strip()
    if not all(password.partition(":")):
        raise StepError(
            f"{path} has no line `user:password`: write one, or delete the file for a new password"
        )
    return password


def serving_environment(home: Path, port: int) -> dict[str, str]:
    """The environment of the server, the worker and its runs.

    Secrets are here and in no argument list, which other users of the machine can read.
    """
    password = obtain_password(home)
    return {
        **os.environ,
        **TELEMETRY_OFF,
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_UI_API_URL": UI_API_URL,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_AUTH_STRING": password,
        # Whoever may start runs must not read every image file of the machine with them.
        f"{PREFIX}DATA_ROOT": str(read_settings().data_root or Path.home()),
    }


def register(environment: dict[str, str]) -> None:
    """Register the deployments, without Prefect's advice to start a worker.

    Raises:
        StepError: that failed; the message is Prefect's.
    """
    command = [sys.executable, "-m", "flows.server.deploy"]
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise StepError(f"The deployments were not registered:\n{ended.stdout}{ended.stderr}")


def client_of(environment: dict[str, str]) -> httpx.Client:
    """A client of the server's API."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    url = environment["PREFECT_API_URL"]
    return httpx.Client(base_url=url, auth=(user, password), trust_env=False, timeout=30)


def wait_until_healthy(server: PrefectCommand, url: str, log: Path) -> None:
    """Wait until the server answers, as long as its process lives; say now and then what for.

    Raises:
        StepError: it ended, for example because its port was taken meanwhile, or does not answer.
    """

    def check_process() -> None:
        if server.process.poll() is not None:
            code = server.process.returncode
            raise StepError(f"The server ended with exit code {code}; its messages are in {log}")

    wait_for_server("Prefect server", url, read_settings().server_seconds, check_process)


def keep_running(server: PrefectCommand, worker: PrefectCommand, port: int, log: Path) -> NoReturn:
    """Start a command again whenever it ends by itself.

    Raises:
        StepError: it ends again and again, or another program took the server's port meanwhile.
    """
    quick_ends = {server.name: 0, worker.name: 0}
    while True:
        time.sleep(WATCH_SECONDS)
        for command in (server, worker):
            code = command.process.poll()
            if code is None:
                continue
            command.kill()
            if command is server and port_is_taken(port):
                raise StepError(f"The server ended, and another program has taken port {port}")
            quick = time.monotonic() - command.started < QUICK_SECONDS
            quick_ends[command.name] = count = quick_ends[command.name] + 1 if quick else 0
            if count == QUICK_ENDS:
                raise StepError(
                    f"The {command.name} ended {count} times, each time within {QUICK_SECONDS} s "
                    f"of its start; its messages are in {log}"
                )
            text = f"The {command.name} ended with exit code {code}; it is started again"
            print(text, file=sys.stderr, flush=True)
            time.sleep(count * PAUSE_SECONDS)
            command.start()


@contextmanager
def prefect_settings(environment: Mapping[str, str]) -> Iterator[None]:
    """Let Prefect's clients in this process use the server."""
    with temporary_settings(
        {
            PREFECT_API_URL: environment["PREFECT_API_URL"],
            PREFECT_API_AUTH_STRING: environment["PREFECT_API_AUTH_STRING"],
        }
    ):
        yield


def find_runs(client: httpx.Client, states: list[str]) -> set[str]:
    """The ids of this worker's runs in states of these types."""
    filters = {
        "flow_runs": {"state": {"type": {"any_": states}}},
        "work_pools": {"name": {"any_": [WORK_POOL]}},
    }
    found = client.post("flow_runs/filter", json=filters).raise_for_status()
    return {run["id"] for run in found.json()}


def schedule_again(client: httpx.Client, runs: set[str]) -> None:
    """Let runs that ended with their worker resume as soon as there is a worker again."""
    crashed = {"type": "CRASHED", "message": "The worker was stopped"}
    again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Waits for a worker"}
    for run in runs & find_runs(client, ["PENDING", "RUNNING", "CRASHED"]):
        for state in (crashed, again):  # the first one frees the run's concurrency slot
            transition = {"state": state, "force": state is again}
            client.post(f"flow_runs/{run}/set_state", json=transition).raise_for_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
