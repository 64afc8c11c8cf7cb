"""What the server does when a run dies, tested with runs that no worker starts."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.end_to_end.serving import Served, wait_until

pytestmark = pytest.mark.timeout(300)
SILENCE_SECONDS = 90
"""Without a heartbeat, after which a run is dead."""
ALREADY_SILENT = SILENCE_SECONDS / 2
"""The server looks every 90 s at most, and forgets a silence that it has not seen 60 s after its
end: what was silent for long when it is told might never be noticed."""
ATTEMPTS = 3
"""How often a crashed run is started again."""
DEPLOYMENT = "neighbors/on-publication"
NOTHING = {"codes": {"dataset": "absent"}}
"""Parameters of a run that fails at once, should a worker make it."""


def begin(served: Served, *states: str, deployed: bool = True) -> str:
    """Take a run through these states; return its id."""
    deployment = served.deployment(DEPLOYMENT)
    later = datetime.now(UTC) + timedelta(days=1)
    body = {
        "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": later.isoformat()}},
        "parameters": NOTHING,
    }
    if deployed:
        created = served.client.post(f"deployments/{deployment['id']}/create_flow_run", json=body)
    else:
        created = served.client.post("flow_runs/", json={**body, "flow_id": deployment["flow_id"]})
    run: str = created.json()["id"]
    go_through(served, run, *states)
    return run


def go_through(served: Served, run: str, *states: str) -> None:
    for state in states:
        transition = {"state": {"type": state, "name": state.title()}, "force": True}
        served.client.post(f"flow_runs/{run}/set_state", json=transition)


def tell(
    served: Served, event: str, run: str, ago: float = 0, count: int = 1, deployed: bool = True
) -> None:
    """Tell the server, as Prefect does, what happened to a run some seconds ago."""
    deployment = served.deployment(DEPLOYMENT)
    related = [(f"prefect.flow.{deployment['flow_id']}", "flow", "neighbors")]
    if deployed:
        related.append((f"prefect.deployment.{deployment['id']}", "deployment", "on-publication"))
    labels = ("prefect.resource.id", "prefect.resource.role", "prefect.resource.name")
    body = {
        "id": str(uuid4()),
        "occurred": (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(),
        "event": f"prefect.flow-run.{event}",
        "resource": {
            "prefect.resource.id": f"prefect.flow-run.{run}",
            "prefect.run-count": str(count),
        },
        "related": [dict(zip(labels, values, strict=True)) for values in related],
    }
    served.client.post("events", json=[body])


def test_a_silent_run_of_a_worker_is_dead_and_no_other(served: Served) -> None:
    alive, typed, silent = (
        begin(served, "RUNNING", deployed=deployed) for deployed in (True, False, True)
    )
    tell(served, "heartbeat", alive)
    tell(served, "heartbeat", typed, ago=ALREADY_SILENT, deployed=False)
    tell(served, "heartbeat", silent, ago=ALREADY_SILENT)

    def silence_is_noticed() -> bool:
        tell(served, "heartbeat", alive)
        return "Crashed" in served.states(silent)

    wait_until(silence_is_noticed, 2 * SILENCE_SECONDS, served.tail, every=5)
    assert served.states(alive)[-1] == served.states(typed)[-1] == "Running"
    go_through(served, alive, "CANCELLED")
    go_through(served, typed, "CANCELLED")


def test_a_run_that_dies_is_started_again_three_times_at_most(served: Served) -> None:
    hopeless, unlucky = (begin(served, "CRASHED") for _ in range(2))
    tell(served, "Crashed", hopeless, count=ATTEMPTS + 1)
    tell(served, "Crashed", unlucky, count=ATTEMPTS)
    wait_until(lambda: "AwaitingRetry" in served.states(unlucky), 60, served.tail)
    assert served.states(hopeless)[-1] == "Crashed"
