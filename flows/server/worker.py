"""A worker that ends its runs before it ends: in a container, they would just vanish with it.

Prefect's worker starts each run in a session of its own, which no signal to the worker reaches. A
run that is told to end stores its training's state and reports that it crashed, so that it is
started again as soon as there is a worker.

The arguments are those of `prefect worker start`.
"""

import signal
import subprocess
import sys

import psutil

RUN_SECONDS = 45
"""How long runs may take to store their state; Docker is told to wait a little longer."""


def main(arguments: list[str]) -> int:
    """Work until told to stop; return the worker's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    worker = subprocess.Popen([sys.executable, "-m", "prefect", "worker", "start", *arguments])
    try:
        return worker.wait()
    except KeyboardInterrupt:
        end_runs(worker.pid)
        worker.terminate()
        return worker.wait()


def end_runs(worker: int) -> None:
    """Tell all runs of a worker to end and wait until they have."""
    runs = psutil.Process(worker).children()
    for run in runs:
        run.terminate()
    psutil.wait_procs(runs, RUN_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
