"""What happens to a run, its worker and its server: killed, suspended, cancelled."""

import os
import signal
import time

import psutil

from tests.end_to_end.serving import Served, Server, find_process, process_of
from tests.waiting import wait_until


def worker_of(served: Served) -> int:
    """The worker's process."""
    return find_process(b"worker\0start", f"PREFECT_HOME={served.home}".encode())


def server_of(served: Served) -> int:
    """The server's process."""
    return find_process(b"flows.server.start", f"PREFECT_HOME={served.home}".encode())


def kill_with_worker(served: Served, run: str) -> None:
    """What only a worker that is started later can notice."""
    for process in (worker_of(served), process_of(run)):
        os.kill(process, signal.SIGKILL)


def kill_before_its_start(served: Served, run: str) -> None:
    """Kill the worker as soon as it has taken a run, and what it has started of the run."""

    def is_given() -> bool:
        return served.states(run)[-1] in ("Pending", "Submitting")

    wait_until(is_given, served.tail, every=0.05, seconds=300)
    os.kill(worker_of(served), signal.SIGKILL)
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == run:
            process.kill()


def cancel(server: Server, run: str) -> None:
    """Cancel a run, as the UI does."""
    state = {"type": "CANCELLING", "name": "Cancelling"}
    server.client.post(f"flow_runs/{run}/set_state", json={"state": state})


def suspend(seconds: float, *processes: int) -> None:
    """Stop processes for so long."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    for process in processes:
        os.kill(process, signal.SIGCONT)


def kill_server(served: Served, seconds: float) -> None:
    """Kill the server; `serve` sleeps meanwhile, as it would start it again."""
    os.kill(served.process.pid, signal.SIGSTOP)
    os.kill(server_of(served), signal.SIGKILL)
    time.sleep(seconds)
    os.kill(served.process.pid, signal.SIGCONT)
