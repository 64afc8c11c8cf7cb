"""Situations that a run must survive, at their real durations, and what is expected of each."""

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from tests.end_to_end.databases import Cluster
from tests.end_to_end.serving import Served, process_of
from tests.end_to_end.troubles import (
    cancel,
    kill_before_its_start,
    kill_server,
    kill_with_worker,
    server_of,
    suspend,
    worker_of,
)
from tests.waiting import wait_until

LONGEST_WAIT = 3600
"""Seconds until a run has ended, at most."""
ENDS = ("Published", "Unchanged", "Refused", "Failed", "Cancelled")

Measures = dict[str, float]
"""Seconds, by what took so long."""


class Scene(NamedTuple):
    """A run and what it depends on."""

    served: Served
    run: str
    cluster: Cluster | None
    """The database of the server, if that is not SQLite."""

    def seconds_until(self, state: str, began: float) -> float:
        """Wait until the run is in a state of this name, or has ended in another one.

        Return the seconds since a time.
        """

        def was_there() -> bool:
            return self.served.states(self.run)[-1] in (state, *ENDS)

        wait_until(was_there, self.served.tail, seconds=LONGEST_WAIT)
        return round(time.monotonic() - began, 1)


class Situation(NamedTuple):
    """What happens to a run."""

    name: str
    happen: Callable[[Scene, float], Measures]
    """Takes the seconds for which it happens."""
    seconds: float = 0
    attempts: int = 1
    ends: str = "Published"
    """The name of the run's last state; empty: the run is gone."""
    training: bool = True
    """Whether it happens while the deep model is trained; otherwise as soon as the run is there."""
    database: bool = False
    """Whether it happens to a database of PostgreSQL."""


def kill_server_for(scene: Scene, seconds: float) -> Measures:
    """Kill the server."""
    kill_server(scene.served, seconds)
    return {}


def suspend_server(scene: Scene, seconds: float) -> Measures:
    """Stop the server alone."""
    suspend(seconds, server_of(scene.served))
    return {}


def stop_database(scene: Scene, seconds: float) -> Measures:
    """Stop the database."""
    assert scene.cluster is not None
    scene.cluster.control("stop")
    time.sleep(seconds)
    scene.cluster.control("start")
    return {}


def suspend_run(scene: Scene, seconds: float) -> Measures:
    """Stop the run's process alone."""
    suspend(seconds, process_of(scene.run))
    return {}


def suspend_everything(scene: Scene, seconds: float) -> Measures:
    """Stop all processes, as a laptop does that is closed."""
    served = scene.served
    everything = served.process.pid, worker_of(served), server_of(served), process_of(scene.run)
    suspend(seconds, *everything)
    return {}


def kill_run(scene: Scene, _seconds: float) -> Measures:
    """Kill the run's process alone."""
    began = time.monotonic()
    os.kill(process_of(scene.run), signal.SIGKILL)
    return _seconds_of_a_new_attempt(scene, began)


def kill_run_and_worker(scene: Scene, _seconds: float) -> Measures:
    """Kill the run and its worker."""
    began = time.monotonic()
    kill_with_worker(scene.served, scene.run)
    return _seconds_of_a_new_attempt(scene, began)


def _seconds_of_a_new_attempt(scene: Scene, began: float) -> Measures:
    crashed = scene.seconds_until("Crashed", began)
    return {"until it crashed": crashed, "until it ran": scene.seconds_until("Running", began)}


def kill_pending_run(scene: Scene, _seconds: float) -> Measures:
    """Kill everything but the server before the run has started."""
    kill_before_its_start(scene.served, scene.run)
    return {"until it ran": scene.seconds_until("Running", time.monotonic())}


def cancel_dead_run(scene: Scene, _seconds: float) -> Measures:
    """Cancel a run that was killed with its worker."""
    kill_with_worker(scene.served, scene.run)
    began = time.monotonic()
    cancel(scene.served, scene.run)
    return {"until it was cancelled": scene.seconds_until("Cancelled", began)}


def delete_run(scene: Scene, _seconds: float) -> Measures:
    """Delete a run that is running."""
    process, began = process_of(scene.run), time.monotonic()
    scene.served.client.delete(f"flow_runs/{scene.run}")
    wait_until(lambda: not psutil.pid_exists(process), scene.served.tail, seconds=300)
    return {"until its process ended": round(time.monotonic() - began, 1)}


SITUATIONS = (
    *(Situation("server killed", kill_server_for, seconds) for seconds in (30, 100, 300)),
    *(Situation("server suspended", suspend_server, seconds) for seconds in (30, 100, 300)),
    Situation("run suspended", suspend_run, 150),
    Situation("everything suspended", suspend_everything, 150),
    Situation("run killed", kill_run, attempts=2),
    Situation("run and worker killed", kill_run_and_worker, attempts=2),
    Situation("pending run and worker killed", kill_pending_run, training=False),
    Situation("cancelled after its death", cancel_dead_run, ends="Cancelled"),
    Situation("deleted", delete_run, ends=""),
    Situation("database stopped", stop_database, 300, database=True),
)
