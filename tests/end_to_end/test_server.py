"""`make serve` for real: a server with a password, a worker, deployments, automations."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from prefect.client.base import PrefectHttpxSyncClient

from tasks.codes import open_published
from tests.conftest import GATE, SAMPLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(300)
RUN = {
    "data": SAMPLE.model_dump(mode="json"),
    "training": {"shallow_epochs": 2, "deep_epochs": 2},
    "gate": GATE.model_dump(mode="json"),
}


class Served(NamedTuple):
    """A served project, and a client that knows its password."""

    client: (
        PrefectHttpxSyncClient  # tries again when the server is busy, as every client of Prefect's
    )
    home: Path
    artifacts: Path
    log: Path

    @property
    def address(self) -> str:
        return str(self.client.base_url).removesuffix("/api/")

    def find(self, what: str, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.post(f"{what}/filter", json=filters).json()
        return found

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"deployments/name/{name}").json()
        return found

    def start(self, name: str, parameters: dict[str, Any], **options: Any) -> str:
        """Start a run of a deployment; return its id."""
        identity = self.deployment(name)["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, **options}
        started = self.client.post(f"deployments/{identity}/create_flow_run", json=body)
        run: str = started.json()["id"]
        return run

    def wait_for(self, identity: str, state: str, seconds: float = 120) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            run: dict[str, Any] = self.client.get(f"flow_runs/{identity}").json()
            if run["state_name"] == state:
                return run
            time.sleep(0.5)
        return pytest.fail(f"{run['state_name']}, not {state}:\n{self.log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    home, artifacts, log, port = folder / "home", folder / "artifacts", folder / "log", free_port()
    command = [sys.executable, "-m", "flows.serve", "--port", str(port), "--home", str(home)]
    environment = {**os.environ, "AUTOENCODER_ARTIFACTS": str(artifacts)}
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 120
        while "The UI is at" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"not served:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        user, _, password = (home / "password").read_text().strip().partition(":")
        address = f"http://127.0.0.1:{port}/api"
        with PrefectHttpxSyncClient(
            base_url=address, auth=(user, password), trust_env=False, enable_csrf_support=False
        ) as client:
            yield Served(client, home, artifacts, log)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
        assert "Stopped" in log.read_text()


def test_only_those_who_know_the_password_are_let_in(served: Served) -> None:
    assert stat.S_IMODE((served.home / "password").stat().st_mode) == 0o600
    stranger = httpx.post(f"{served.address}/api/flows/count", json={}, trust_env=False)
    assert stranger.status_code == 401
    password = (served.home / "password").read_text().strip().partition(":")[2]
    assert password not in served.log.read_text()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        assert password.encode() not in command.read_bytes()


def test_everything_is_registered_once_however_often(served: Served) -> None:
    environment = {
        **os.environ,
        "PREFECT_API_URL": f"{served.address}/api",
        "PREFECT_API_AUTH_STRING": (served.home / "password").read_text().strip(),
        "PREFECT_HOME": str(served.home / "client"),
    }
    before = {found["id"] for found in served.find("deployments")}
    command = [sys.executable, "-m", "flows.deploy"]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert {found["id"] for found in served.find("deployments")} == before
    names = sorted(found["name"] for found in served.find("automations"))
    assert names == [
        "autoencoder-flow: mark dead runs as crashed",
        "autoencoder-flow: start crashed runs again",
        "on-publication__automation_1",
    ]
    schedules = {name: served.deployment(name)["schedules"] for name in deployed()}
    assert [len(found) for found in schedules.values()] == [1, 0]
    assert schedules["retrain/weekly"][0]["schedule"]["timezone"] == "Europe/Berlin"


def deployed() -> list[str]:
    return ["retrain/weekly", "neighbors/on-publication"]


def test_a_run_publishes_and_its_event_starts_the_search_for_neighbours(served: Served) -> None:
    run = served.start("retrain/weekly", RUN)
    served.wait_for(run, "Completed")
    published = open_published(SAMPLE.dataset, served.artifacts)
    assert published.manifest.run == run
    end = time.monotonic() + 90
    folder = served.artifacts / "neighbors" / run
    while not folder.exists() and time.monotonic() < end:
        time.sleep(0.5)
    assert (folder / "deep-32-euclidean.hdf5").exists(), served.log.read_text()[-3000:]
    artifacts = served.find("artifacts", flow_runs={"id": {"any_": [run]}}, limit=100)
    kinds = {found["key"]: found["type"] for found in artifacts}
    assert kinds[f"report-{SAMPLE.dataset}"] == "markdown"
    assert kinds[f"metrics-{SAMPLE.dataset}"] == "table"
    assert kinds[f"{SAMPLE.dataset}-comparison"] == "image"
    progress = [found for found in artifacts if found["key"] == "training-deep"]
    assert [json.loads(json.dumps(found["data"])) for found in progress] == [100.0]


def test_wrong_values_are_refused_by_the_form_and_by_the_flow(served: Served) -> None:
    wrong = {"training": {"batch_size": 0}}
    with pytest.raises(httpx.HTTPStatusError, match="batch_size"):
        served.start("retrain/weekly", wrong)
    run = served.start("retrain/weekly", wrong, enforce_parameter_schema=False)
    ended = served.wait_for(run, "Failed")
    assert "batch_size" in ended["state"]["message"]


def test_a_run_whose_process_is_killed_comes_back_and_resumes(served: Served) -> None:
    training = {"shallow_epochs": 2, "deep_epochs": 2000, "seed": 1}
    run = served.start("retrain/weekly", {**RUN, "training": training})
    end = time.monotonic() + 60
    seen: set[Path] = set()
    while len(seen) < 3:  # the short training leaves fewer: the long one is under way
        assert time.monotonic() < end, served.log.read_text()[-3000:]
        seen.update(served.artifacts.glob("models/*/checkpoints/[!.]*"))
        time.sleep(0.1)
    os.kill(process_of(run), signal.SIGKILL)
    served.wait_for(run, "Crashed", 30)
    ended = served.wait_for(run, "Completed", 150)
    assert ended["run_count"] == 2
    assert re.search(r"Resuming the (shallow|deep) model", served.log.read_text())


def process_of(flow_run: str) -> int:
    """The process that runs it: its environment has the run's id."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((folder / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"prefect.engine" in command and flow_run.encode() in environment:
            return int(folder.name)
    return pytest.fail("no process runs it")


def test_a_person_signs_in_and_sees_the_form_and_the_report(
    served: Served, browser: "Browser", tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(served.address)
    page.locator("input").first.fill((served.home / "password").read_text().strip())
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard**")
    identity = served.deployment("retrain/weekly")["id"]
    page.goto(f"{served.address}/deployments/deployment/{identity}/run")
    for title in ("Dataset", "Code size", "Shallow epochs", "Tolerance", "Quick look"):
        page.get_by_text(title).first.wait_for()
    page.screenshot(path=tmp_path / "form.png")
    keys = {found["key"]: found["id"] for found in served.find("artifacts", limit=100)}
    page.goto(f"{served.address}/artifacts/artifact/{keys[f'report-{SAMPLE.dataset}']}")
    page.get_by_text("cross-entropy per pixel").first.wait_for()
    page.screenshot(path=tmp_path / "report.png")
    page.close()
