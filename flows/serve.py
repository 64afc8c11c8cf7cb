"""`make serve`: a Prefect server, a worker and the deployments on this machine, with one command.

Everything listens on loopback and needs the password that is made at the first start. Ctrl-C stops
all of it.
"""

import argparse
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from flows.automations import HEARTBEAT_SECONDS
from flows.deploy import CODE, WORK_POOL

HOME = CODE / ".prefect"
HOST = "127.0.0.1"
USER = "admin"
START_SECONDS = 90
STOP_SECONDS = 30


def main(arguments: list[str]) -> int:
    """Start everything, wait for Ctrl-C, stop everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument(
        "--home", type=Path, default=HOME, help="folder of the database and the password"
    )
    options = parser.parse_args(arguments)
    environment = serving_environment(options.home, options.port)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell's & made SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        with running(["server", "start", "--host", HOST, "--port", str(options.port)], environment):
            wait_until_healthy(environment)
            subprocess.run([sys.executable, "-m", "flows.deploy"], check=True, env=environment)
            with running(
                ["worker", "start", "--pool", WORK_POOL, "--type", "process"], environment
            ):
                print(
                    f"\nThe UI is at http://{HOST}:{options.port}; the password it asks for is the "
                    f"line in {password_path(options.home)}. Ctrl-C stops everything.\n",
                    flush=True,
                )
                signal.pause()
    except KeyboardInterrupt:
        print("Stopped")
    except (subprocess.CalledProcessError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def password_path(home: Path) -> Path:
    """The file with `user:password`."""
    return home / "password"


def obtain_password(home: Path) -> str:
    """Read the password, made at the first start; nobody else on the machine can read it."""
    path = password_path(home)
    home.mkdir(parents=True, exist_ok=True)
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
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "AUTOENCODER_CODE": str(CODE),
    }


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of Prefect's in the background; stop it in the end, by force if it must be."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *command],
        env=environment,
        cwd=CODE,
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_healthy(environment: dict[str, str]) -> None:
    """Wait until the server answers.

    Raises:
        TimeoutError: it does not.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    url = f"{environment['PREFECT_API_URL']}/health"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            if httpx.get(url, auth=(user, password), trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"No server answers at {url} after {START_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
