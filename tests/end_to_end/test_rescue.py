"""Runs whose process, worker or server dies, is suspended, or ends against their will.

What takes minutes elsewhere takes seconds here.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.events import Event, Resource

from flows.server.rescue import SETTLE_SECONDS, UNNAMED_SECONDS
from tasks.codes.published import open_published
from tasks.steps.server import BEAT, TAG
from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.end_to_end.serving import Served, ask_until, flags_of, long_run, process_of, serve
from tests.end_to_end.troubles import (
    cancel,
    kill_before_its_start,
    kill_with_worker,
    server_of,
    suspend,
    worker_of,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
SILENCE_SECONDS = 8
MAX_AGE_SECONDS = 15
HASTE = {
    "AUTOENCODER_BEAT_SECONDS": "1",
    "AUTOENCODER_LOOK_SECONDS": "1",
    "AUTOENCODER_SILENCE_SECONDS": str(SILENCE_SECONDS),
    "AUTOENCODER_MAX_AGE_HOURS": str(MAX_AGE_SECONDS / 3600),
}


@pytest.fixture(scope="module")
def hasty(compiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`make serve`, where silence is short."""
    with serve(tmp_path_factory.mktemp("hasty"), **HASTE, **compiled) as served:
        yield served


def start_training(served: Served, seed: int) -> str:
    run = served.start(long_run(seed))
    served.wait_until_training(run)
    return run


def beat_of(served: Served, run: str) -> object:
    """The newest sign of life."""
    return served.client.get(f"flow_runs/{run}").json()["labels"].get(BEAT)


def test_suspensions_longer_than_silence_harm_no_run(hasty: Served) -> None:
    """Of everything, as of a laptop; then of the run, and of the server, which others outlive."""
    run = start_training(hasty, seed=1)
    process, server = process_of(run), server_of(hasty)
    for suspended in (
        (hasty.process.pid, server, worker_of(hasty), process),
        (process,),
        (server,),
    ):
        suspend(2 * SILENCE_SECONDS, *suspended)
        before = beat_of(hasty, run)
        ask_until(lambda: beat_of(hasty, run) != before, hasty.tail)  # noqa: B023 - called here
    ended = hasty.wait_for(run, "Published")
    assert ended["run_count"] == 1
    assert "Crashed" not in hasty.states(run)
    assert open_published(SAMPLE.dataset, hasty.artifacts).name == run


def test_a_run_that_died_with_its_worker_resumes(hasty: Served) -> None:
    run = start_training(hasty, seed=4)
    kill_with_worker(hasty, run)
    ended = hasty.wait_for(run, "Published")
    assert ended["run_count"] == 2
    hasty.wait_for_message(run, "Resuming the deep model")


def test_a_run_that_was_cancelled_after_its_death_stays_cancelled(hasty: Served) -> None:
    run = start_training(hasty, seed=5)
    kill_with_worker(hasty, run)
    cancel(hasty, run)
    hasty.wait_for(run, "Cancelled", 60)
    next_run = hasty.start(long_run(seed=6))
    hasty.wait_for(next_run, "Running", 60)  # the queue is free
    assert hasty.states(run)[-1] == "Cancelled"
    cancel(hasty, next_run)
    hasty.wait_for(next_run, "Cancelled", 60)


def test_a_run_that_had_not_started_when_everything_died_is_started(hasty: Served) -> None:
    run = hasty.start(long_run(seed=7))
    kill_before_its_start(hasty, run)
    # Before the worker has written its name on the run, it takes a minute until it counts as dead.
    hasty.wait_for(run, "Running", UNNAMED_SECONDS + 90)
    assert "AwaitingRetry" in hasty.states(run)
    cancel(hasty, run)
    hasty.wait_for(run, "Cancelled", 60)


def retrain(served: Served, root: Path) -> subprocess.Popen[bytes]:
    """`make run` on a server that is there."""
    flags = ("--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER))
    return subprocess.Popen(
        [sys.executable, "-m", "flows.retrain", *flags, *flags_of(long_run(seed=10))],
        env={**served.environment, **HASTE, "AUTOENCODER_ARTIFACTS": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_runs_at_a_terminal_that_are_killed_have_crashed(hasty: Served, tmp_path: Path) -> None:
    """One in the worker's artifacts folder, and one of which it only sees that it is silent."""
    processes = [retrain(hasty, root) for root in (hasty.artifacts, tmp_path)]
    running = {"state": {"type": {"any_": ["RUNNING"]}}, "deployment_id": {"is_null_": True}}

    def find() -> list[str]:
        found = hasty.find("flow_runs", flow_runs={"tags": {"all_": [TAG]}, **running})
        return [run["id"] for run in found] if len(found) == len(processes) else []

    runs = ask_until(find, hasty.tail)
    time.sleep(SILENCE_SECONDS)
    assert sorted(find()) == sorted(runs)
    tags = [tag for run in runs for step in hasty.steps(run) for tag in step["tags"]]
    assert not tags, "the server would be asked for a slot of each"
    for process in processes:
        process.kill()
        process.wait()
    for run in runs:
        hasty.wait_for(run, "Crashed", SETTLE_SECONDS + SILENCE_SECONDS + 20)
    time.sleep(SETTLE_SECONDS + 3)
    assert {hasty.states(run)[-1] for run in runs} == {"Crashed"}, "nobody starts them again"


def test_an_attempt_that_counts_as_dead_ends(hasty: Served) -> None:
    run = start_training(hasty, seed=8)
    first = process_of(run)
    crashed = {"type": "CRASHED", "name": "Crashed"}
    hasty.client.post(f"flow_runs/{run}/set_state", json={"state": crashed})
    wait_until(lambda: not psutil.pid_exists(first), hasty.tail)
    assert hasty.wait_for(run, "Running")["run_count"] == 2
    cancel(hasty, run)
    hasty.wait_for(run, "Cancelled")


def test_a_run_that_is_deleted_publishes_nothing(hasty: Served) -> None:
    run = start_training(hasty, seed=9)
    process = process_of(run)
    hasty.client.delete(f"flow_runs/{run}")
    wait_until(lambda: not psutil.pid_exists(process), hasty.tail)
    assert not list((hasty.artifacts / "runs").glob(run))
    assert "Traceback" not in hasty.messages().partition("the run is deleted")[2]


def test_the_flow_of_another_project_is_left_alone(hasty: Served) -> None:
    """It has the name of ours, but neither our tag nor our work pool."""
    flow = hasty.client.post("flows/", json={"name": "retrain"}).json()["id"]
    running = {"type": "RUNNING", "name": "Running"}
    other = hasty.client.post("flow_runs/", json={"flow_id": flow, "state": running}).json()["id"]
    time.sleep(2 * SILENCE_SECONDS)
    assert hasty.states(other)[-1] == "Running"


def overdue_events(served: Served) -> list[dict[str, Any]]:
    """What listeners take: the automation's own event, once for each dataset that is overdue."""
    answer = served.client.post(
        "events/filter", json={"filter": {"event": {"name": ["prefect.automation.triggered"]}}}
    ).json()
    name = "autoencoder-flow: results are overdue"
    return [found for found in answer["events"] if name in str(found["resource"])]


def test_results_that_nothing_confirms_in_time_are_overdue(hasty: Served) -> None:
    """One dataset is confirmed all the time, the other never again."""

    def tell(name: str, dataset: str) -> None:
        resource = {"prefect.resource.id": f"autoencoder-flow.codes.{dataset}"}
        event = Event(event=name, resource=Resource(resource))
        hasty.client.post("events", json=[event.model_dump(mode="json")]).raise_for_status()

    before = len(overdue_events(hasty))
    tell("codes.published", "forgotten")

    def confirmed_and_overdue() -> bool:
        tell("codes.confirmed", "cared-for")
        return len(overdue_events(hasty)) > before

    ask_until(confirmed_and_overdue, hasty.tail)
    events = overdue_events(hasty)[: -before or None]
    assert all("forgotten" in str(found) for found in events)
    assert not any("cared-for" in str(found) for found in events)
