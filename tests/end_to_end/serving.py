"""A Prefect server of ours and its worker, as the end-to-end tests use them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from prefect.client.base import PrefectHttpxSyncClient

from tests.conftest import GATE, SAMPLE, SAMPLE_FOLDER, TRAINING
from tests.waiting import SOON, wait_until

T = TypeVar("T")
RUN: dict[str, Any] = {
    "data": SAMPLE.model_dump(mode="json"),
    "training": TRAINING.model_dump(mode="json"),
    "gate": GATE.model_dump(mode="json"),
}
"""Parameters of a run that takes seconds."""
HURRY = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
"""Server and worker look often for what they have to start."""


def long_run(seed: int) -> dict[str, Any]:
    """Parameters of a run whose deep training can be met half-way; each seed is new work.

    It depends on nothing that was published before: its basis is its own.
    """
    training = {**RUN["training"], "deep_epochs": 250, "seed": seed}
    return {**RUN, "training": training, "run": {**RUN.get("run", {}), "new_basis": True}}


def flags_of(run: dict[str, Any]) -> list[str]:
    """What such a run's training and gate are on the command line."""
    values = {**run["training"], **run["gate"]}
    return [word for name in values for word in (f"--{name.replace('_', '-')}", str(values[name]))]


def ask_until(
    condition: Callable[[], T | None], otherwise: Callable[[], str], seconds: float = SOON
) -> T:
    """Wait for something that a server or Docker must be asked for, which costs both some time."""
    return wait_until(condition, otherwise, seconds, every=0.5)


@dataclass(frozen=True)
class Server:
    """A Prefect server with a worker, and a client that knows its password.

    The client tries again when the server is busy, as all of Prefect's do.
    """

    client: PrefectHttpxSyncClient
    artifacts: Path

    @property
    def address(self) -> str:
        return str(self.client.base_url).removesuffix("/api/")

    def tail(self) -> str:
        """The last that server and worker said."""
        raise NotImplementedError

    def find(self, what: str, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.post(f"{what}/filter", json=filters).json()
        return found

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"deployments/name/{name}").json()
        return found

    def start(
        self, parameters: dict[str, Any], deployment: str = "retrain/weekly", **options: Any
    ) -> str:
        """Start a run of a deployment; return its id.

        The key makes it one run, even if the client asks again as the answer took too long.
        """
        identity = self.deployment(deployment)["id"]
        once = {"state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid4())}
        body = {"parameters": parameters, **once, **options}
        started = self.client.post(f"deployments/{identity}/create_flow_run", json=body)
        run: str = started.json()["id"]
        return run

    def wait_for(
        self, run: str, state: str, seconds: float = 300, or_else: str = ""
    ) -> dict[str, Any]:
        """Wait until a run is in a state of this name, or of another one."""

        def found() -> dict[str, Any] | None:
            current: dict[str, Any] = self.client.get(f"flow_runs/{run}").json()
            return current if current["state_name"] in (state, or_else) else None

        return ask_until(found, lambda: f"{run} is not {state}:\n{self.tail()}", seconds)

    def ended(self, run: str, attempt: int) -> bool:
        """Whether this attempt of a run is over."""
        current = self.client.get(f"flow_runs/{run}").json()
        final = current["state_type"] in ("COMPLETED", "FAILED", "CRASHED")
        return final and current["run_count"] == attempt

    def states(self, run: str) -> list[str]:
        """The names of all states that a run was in."""
        found = self.client.get("flow_run_states/", params={"flow_run_id": run}).json()
        return [state["name"] for state in found]

    def steps(self, run: str) -> list[dict[str, Any]]:
        """The task runs of a run, in order."""
        return self.find(
            "task_runs", flow_runs={"id": {"any_": [run]}}, sort="EXPECTED_START_TIME_ASC"
        )

    def wait_for_message(self, run: str, text: str) -> None:
        """Wait until the server has a line of the run's log; lines arrive after states do."""

        def found() -> bool:
            lines = self.find("logs", logs={"flow_run_id": {"any_": [run]}})
            return any(text in line["message"] for line in lines)

        ask_until(found, lambda: f"{run} does not say {text!r}:\n{self.tail()}")

    def wait_for_step(self, run: str, name: str) -> None:
        """Wait until the server knows that a step is completed; it learns it from an event."""

        def found() -> bool:
            done = {"name": name, "state_name": "Completed"}
            return any(step.items() >= done.items() for step in self.steps(run))

        ask_until(found, lambda: f"{run} has not done {name!r}:\n{self.tail()}")

    def wait_until_training(self, run: str, seconds: float = 180) -> None:
        """Wait until the deep model is under way and can be resumed."""
        known = set(self.artifacts.glob("models/*/checkpoints/[!.]*"))

        def under_way() -> bool:
            if not set(self.artifacts.glob("models/*/checkpoints/[!.]*")) - known:
                return False  # the server need not be asked yet
            running = [step for step in self.steps(run) if step["state_name"] == "Running"]
            return [step["name"] for step in running] == ["Train the deep model"]

        wait_until(under_way, self.tail, seconds=seconds)


@dataclass(frozen=True)
class Served(Server):
    """`make serve`."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    @property
    def secret(self) -> str:
        return (self.home / "password").read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """What a command of Prefect's needs to talk to the server."""
        return {
            **os.environ,
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_API_AUTH_STRING": self.secret,
            "PREFECT_HOME": str(self.home / "client"),
        }

    def tail(self) -> str:
        return self.messages()[-3000:]

    def messages(self) -> str:
        """What `make serve`, and in its file server and worker, have said."""
        return self.log.read_text() + (self.home / "messages.log").read_text()


@contextmanager
def serve(folder: Path, **environment: str) -> Iterator[Served]:
    """`make serve`, with all its files in a folder; stopped as Ctrl-C does it."""
    home, port = folder / "home", free_port()
    log = folder / f"{port}.log"
    command = [sys.executable, "-m", "flows.server.serve", "--port", str(port), "--home", str(home)]
    artifacts = folder / "artifacts"
    variables = {
        **os.environ,
        "AUTOENCODER_ARTIFACTS": str(artifacts),
        "AUTOENCODER_DATA_ROOT": str(SAMPLE_FOLDER),
        **HURRY,
        **environment,
    }
    with log.open("w") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    try:
        wait_until(
            lambda: process.poll() is not None or "The UI is at" in log.read_text(),
            log.read_text,
            seconds=600,
        )
        assert process.poll() is None, log.read_text()
        with client_of(port, (home / "password").read_text().strip()) as client:
            yield Served(client, artifacts, process, home, log)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0, log.read_text()


def client_of(port: int, secret: str) -> PrefectHttpxSyncClient:
    """A client of the server on a port; the secret is `user:password`."""
    user, _, password = secret.partition(":")
    return PrefectHttpxSyncClient(
        base_url=f"http://127.0.0.1:{port}/api",
        auth=(user, password),
        trust_env=False,
        enable_csrf_support=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_of(run: str) -> int:
    """The process that runs it: its environment has the run's id."""
    return find_process(b"prefect.engine", run.encode())


def is_running(run: str) -> bool:
    """Whether a process has the run's id in its environment."""
    return any(run.encode() in found for found in read_processes("environ").values())


def find_process(word: bytes, mark: bytes) -> int:
    """The process with this word in its command line and this mark in its environment."""
    commands, environments = read_processes("cmdline"), read_processes("environ")
    for process, command in commands.items():
        if word in command and mark in environments.get(process, b""):
            return process
    return pytest.fail(f"no process {word!r} with {mark!r}")


def read_processes(name: str) -> dict[int, bytes]:
    """A file of each process that is running, whoever started it."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            found[int(folder.name)] = (folder / name).read_bytes()
    return found
