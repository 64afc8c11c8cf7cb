"""`make serve` for real: a server with a password, a worker, deployments, automations."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tasks.codes.published import open_published, run_folder
from tasks.runs.manifest import read_manifest
from tests.conftest import SAMPLE
from tests.end_to_end.serving import (
    RUN,
    Served,
    ask_until,
    find_process,
    free_port,
    long_run,
    process_of,
    read_processes,
    serve,
)
from tests.waiting import SOON, wait_until

pytestmark = pytest.mark.timeout(600)


def test_only_those_who_know_the_password_are_let_in(served: Served) -> None:
    assert stat.S_IMODE((served.home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700, "the database is in it"
    stranger = httpx.post(f"{served.address}/api/flows/count", json={}, trust_env=False)
    assert stranger.status_code == 401
    password = served.secret.partition(":")[2]
    assert password not in served.messages()
    assert "prefect worker start" not in served.messages(), "there is one already"
    for command in read_processes("cmdline").values():
        assert password.encode() not in command


@pytest.mark.parametrize("page", ["openapi.json", "docs", "api/openapi.json", "api/docs"])
def test_the_api_is_described_to_nobody(page: str, served: Served) -> None:
    answer = httpx.get(f"{served.address}/{page}", trust_env=False)
    assert answer.status_code in (401, 404) or "swagger" not in answer.text.lower()
    assert '"openapi"' not in answer.text


def test_a_port_that_is_taken_is_told_at_once(served: Served, tmp_path: Path) -> None:
    port = served.address.rpartition(":")[2]
    command = [sys.executable, "-m", "flows.server.serve", "--port", port, "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"Port {port} is taken" in ended.stderr


def deploy(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.server.deploy", *arguments]
    return subprocess.run(
        command, check=False, env=served.environment, capture_output=True, text=True
    )


def test_everything_is_registered_once_however_often(served: Served) -> None:
    deployments = {found["id"] for found in served.find("deployments")}
    automations = served.find("automations")
    assert deploy(served).returncode == 0
    assert {found["id"] for found in served.find("deployments")} == deployments
    assert served.find("automations") == automations
    assert {found["name"] for found in automations} == {
        "autoencoder-flow: search for neighbours of published codes",
        "autoencoder-flow: results are overdue",
    }
    deployed = ("retrain/weekly", "neighbors/on-publication", "sweep/on-demand")
    schedules = {name: served.deployment(name)["schedules"] for name in deployed}
    assert [len(found) for found in schedules.values()] == [1, 0, 0]
    assert schedules["retrain/weekly"][0]["schedule"]["timezone"] == "Europe/Berlin"


def test_what_is_paused_stays_paused_when_it_is_registered_again(served: Served) -> None:
    weekly, encode = served.deployment("retrain/weekly"), served.deployment("encode/on-demand")
    schedules = f"deployments/{weekly['id']}/schedules"
    (ours,) = weekly["schedules"]
    daily = {"schedule": {"cron": "5 5 * * *", "timezone": "UTC"}, "active": True}
    served.client.patch(f"{schedules}/{ours['id']}", json={"active": False})
    (added,) = served.client.post(schedules, json=[daily]).json()
    served.client.patch(f"deployments/{encode['id']}", json={"paused": True})
    assert deploy(served).returncode == 0
    again = {one["id"]: one["active"] for one in served.deployment("retrain/weekly")["schedules"]}
    assert again == {ours["id"]: False, added["id"]: True}
    assert served.deployment("encode/on-demand")["paused"]
    served.client.delete(f"{schedules}/{added['id']}")
    served.client.patch(f"{schedules}/{ours['id']}", json={"active": True})
    served.client.patch(f"deployments/{encode['id']}", json={"paused": False})


def test_a_run_publishes_and_its_event_starts_the_search_for_neighbours(served: Served) -> None:
    run = served.start(RUN)
    served.wait_for(run, "Published")
    published = open_published(SAMPLE.dataset, served.artifacts)
    assert published.name == run
    folder = served.artifacts / "neighbors" / run
    wait_until(folder.exists, served.tail)
    assert (folder / "deep-32-euclidean.hdf5").exists()
    artifacts = served.find("artifacts", flow_runs={"id": {"any_": [run]}}, limit=100)
    kinds = {found["key"]: found["type"] for found in artifacts}
    assert kinds[f"report-{SAMPLE.dataset}"] == "markdown"
    assert kinds[f"metrics-{SAMPLE.dataset}"] == "table"
    assert set(kinds.values()) == {"markdown", "table", "progress"}
    (found,) = served.find("flow_runs", flow_runs={"id": {"any_": [run]}})
    assert found["name"].startswith(f"{SAMPLE.dataset}-seed0-")
    assert found["name"].endswith(f"-{run[:8]}")
    assert {SAMPLE.dataset, "published"} <= set(found["tags"])
    progress = [found for found in artifacts if found["key"] == "training-deep"]
    assert [found["data"] for found in progress] == [100.0]


TOO_SHORT = {**RUN, "training": {**RUN["training"], "shallow_epochs": 2}}
"""A run whose shallow model is refused by the same limits."""


@contextmanager
def listener(received: list[dict[str, Any]]) -> Iterator[str]:
    """A web hook of ours; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SAVE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Block
message = {"subject": "{{subject}}", "body": "{{body}}"}
Block(name="night shift", url=sys.argv[1], json_data=message).save("night-shift")
"""


class Refusal(NamedTuple):
    """A run that was not good enough, beside a published one."""

    run: str
    received: list[dict[str, Any]]
    """By a web hook that was to be told of it."""


@pytest.fixture(scope="module")
def refusal(served: Served) -> Refusal:
    good = served.start(RUN)
    served.wait_for(good, "Published", or_else="Unchanged")  # as an earlier test may have run it
    received: list[dict[str, Any]] = []
    with listener(received) as address:
        save = [sys.executable, "-c", SAVE_BLOCK, address]
        subprocess.run(save, check=True, env=served.environment)
        assert deploy(served, "--notify", "custom-webhook/night-shift").returncode == 0
        poor = served.start(TOO_SHORT)
        ended = served.wait_for(poor, "Refused")
        assert "Shallow mean squared error" in ended["state"]["message"]
        wait_until(lambda: received, served.tail)
    return Refusal(poor, received)


def test_a_run_that_is_not_good_enough_leaves_what_is_published(
    served: Served, refusal: Refusal
) -> None:
    published = read_manifest(open_published(SAMPLE.dataset, served.artifacts).folder)
    assert published.run != refusal.run
    count = len(published.verdict.checks)
    assert published.verdict.reason.startswith(f"All {count} checks passed.")
    assert all(check.passed for check in published.verdict.checks)
    refused = read_manifest(run_folder(refusal.run, served.artifacts))
    failed = {check.name for check in refused.verdict.checks if not check.passed}
    assert "shallow: error compared with PCA" in failed


def test_a_person_is_notified_of_a_refused_run(served: Served, refusal: Refusal) -> None:
    told = refusal.received[0]
    assert told["subject"].startswith("retrain refused")
    assert told["body"].startswith("Not published: ")
    assert f"/runs/flow-run/{refusal.run}" in told["body"]


def test_a_person_cannot_be_notified_by_a_block_that_does_not_exist(served: Served) -> None:
    assert "no block slack-webhook/none" in deploy(served, "--notify", "slack-webhook/none").stderr


def test_wrong_values_are_refused_by_the_form_and_by_the_flow(served: Served) -> None:
    wrong = {"training": {"batch_size": 0}}
    with pytest.raises(httpx.HTTPStatusError, match="batch_size"):
        served.start(wrong)
    run = served.start(wrong, enforce_parameter_schema=False)
    ended = served.wait_for(run, "Failed")
    assert "batch_size" in ended["state"]["message"]


def test_a_schedule_fires_and_its_run_waits_for_the_one_before(served: Served) -> None:
    parameters = long_run(seed=1)
    first = served.start(parameters)
    served.wait_for(first, "Running")
    deployment = served.deployment("retrain/weekly")["id"]
    soon = datetime.now(UTC) + timedelta(seconds=15)
    hourly = {"interval": 3600, "anchor_date": soon.isoformat(), "timezone": "UTC"}
    schedule = served.client.post(
        f"deployments/{deployment}/schedules",
        json=[{"schedule": hourly, "active": True, "parameters": parameters}],
    ).json()[0]["id"]

    def fired() -> str | None:
        due = {"auto_scheduled": True, "parameters": parameters}
        found = served.find("flow_runs", sort="EXPECTED_START_TIME_ASC")
        return next((run["id"] for run in found if run.items() >= due.items()), None)

    second = ask_until(fired, served.tail)
    ended = served.wait_for(first, "Published")["end_time"]
    began = served.wait_for(second, "Unchanged")["start_time"]
    served.client.delete(f"deployments/{deployment}/schedules/{schedule}")
    assert began > ended
    served.wait_for_message(second, f"Unchanged: the published run {first[:8]}")


def test_a_run_survives_the_death_of_the_server(served: Served) -> None:
    run = served.start(long_run(seed=2))
    served.wait_until_training(run)
    home = f"PREFECT_HOME={served.home}".encode()
    os.kill(find_process(b"flows.server.start", home), signal.SIGKILL)
    wait_until(lambda: "it is started again" in served.messages(), served.tail)
    ended = served.wait_for(run, "Published")
    assert ended["run_count"] == 1


def test_a_run_goes_on_when_the_project_is_served_again(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        run = served.start(long_run(seed=1))
        served.wait_until_training(run)
    with serve(tmp_path) as served:
        ended = served.wait_for(run, "Published")
        assert ended["run_count"] == 2
        served.wait_for_message(run, "Resuming the deep model")
        wait_until((served.artifacts / "neighbors" / run).exists, served.tail)


def test_a_run_whose_process_is_killed_comes_back_and_resumes(served: Served) -> None:
    run = served.start(long_run(seed=3))
    served.wait_until_training(run)
    os.kill(process_of(run), signal.SIGKILL)
    served.wait_for(run, "Crashed", SOON)
    ended = served.wait_for(run, "Published")
    assert ended["run_count"] == 2
    served.wait_for_message(run, "Resuming the deep model")
