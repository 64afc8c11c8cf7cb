"""The stack of containers where each has a third of a core, as on a busy machine."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tasks.images.sources import IdxFolder
from tests.conftest import SAMPLE
from tests.end_to_end.containers import HEALTHY, Stack, build_image, start_engine, start_stack
from tests.end_to_end.serving import long_run
from tests.soak.situations import LONGEST_WAIT, Measures

QUOTA = "0.3"
"""Cores of each container."""
RUNS = 3


class StackResult(NamedTuple):
    """What became of the runs of a stack."""

    runs: int
    published: int
    attempts: int
    crashes: int


def soak_stack(show: Callable[[str, NamedTuple, Measures, bool], None]) -> int:
    """Let a stack with little processor time work; return whether something went wrong."""
    with start_engine({**os.environ}) as engine, TemporaryDirectory() as folder:
        build_image(engine, "cpu")
        with start_stack(engine, Path(folder), CORES=QUOTA, CPUS=QUOTA) as stack:
            for service in HEALTHY:
                engine.docker("update", "--cpus", QUOTA, stack.container(service))
            result = work(stack)
    is_right = result == StackResult(RUNS, RUNS, RUNS, 0)
    show(f"containers with {QUOTA} cores each", result, {}, is_right)
    return int(not is_right)


def work(stack: Stack) -> StackResult:
    """Start some runs at once, of which each waits for the one before."""
    data = SAMPLE.model_copy(update={"source": IdxFolder(idx_folder="/data")})
    parameters = [{**long_run(seed), "data": data.model_dump(mode="json")} for seed in range(RUNS)]
    runs = [stack.start(one) for one in parameters]
    ended = [stack.wait_for(run, "Published", LONGEST_WAIT, or_else="Crashed") for run in runs]
    return StackResult(
        runs=len(runs),
        published=sum(run["state_name"] == "Published" for run in ended),
        attempts=sum(run["run_count"] for run in ended),
        crashes=sum(stack.states(run).count("Crashed") for run in runs),
    )
