"""The time of the whole job by stages, as part of `make bench`, beside an empty Prefect flow.

Each run is a command in a process of its own, with a home folder of Prefect that is new at first.
What happens when is seen from outside, by the lines of the log. Seconds until a line are those of
everything before it, so a step's seconds contain what Prefect does between two steps.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.codes.published import ROOT_VARIABLE
from tasks.core.settings import usable_cores
from tasks.core.storage import prepare_artifacts_folder, write_bytes
from tasks.parameters.images import DataParameters
from tasks.reports.style import new_figure
from tests.benchmarks.training import RESULTS
from tests.conftest import fetch

EMPTY_FLOW = """
from prefect import flow

@flow(log_prints=True)
def empty():
    print("the first line")

empty()
"""
STEP = re.compile(r"tasks\.steps\.step - (.*?): ")
MARKS: dict[str, Callable[[str], bool]] = {
    "import": lambda line: "emporary" in line and "Starting" in line,
    "server": lambda line: "Beginning flow run" in line,
    "first line": lambda line: "the first line" in line or bool(STEP.search(line)),
    "training begins": lambda line: "Compression factor" in line,
}
"""Lines that end the stages of the start-up, in their order."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


class Run(NamedTuple):
    """A command that has ended."""

    seconds: float
    processor_seconds: float
    """Of all its processes."""
    peak_mib: float
    """Largest resident memory of one of its processes, pages of files included; at least that of
    this process, from which it was forked."""
    marks: dict[str, float]
    """Seconds from the start to the first line of each kind of `MARKS`."""
    steps: dict[str, float]
    """Seconds of each step; from the line of the one before it."""
    last_step_to_end: float


def run(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command and time the lines that it prints."""
    marks: dict[str, float] = {}
    steps: dict[str, float] = {}
    started = time.monotonic()
    with subprocess.Popen(
        command,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        last, lines = 0.0, []
        for line in process.stdout:
            now = time.monotonic() - started
            lines.append(line)
            for name in (name for name, is_mark in MARKS.items() if is_mark(line)):
                marks.setdefault(name, now)
            if found := STEP.search(line):
                begun = last or marks.get("server", 0.0)
                steps[found[1]], last = now - begun, now
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"{command} ended with code {process.returncode}:\n{''.join(lines)}")
    return Run(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        marks=marks,
        steps=steps,
        last_step_to_end=seconds - (last or marks.get("first line", 0.0)),
    )


def measure(folder: Path) -> dict[str, Run]:
    """Every run, one after the other: each finds what those before it have left."""
    environment = {ROOT_VARIABLE: str(folder / "artifacts")}
    homes = {name: {"PREFECT_HOME": str(folder / name)} for name in ("home", "other-home")}
    job, empty = [sys.executable, "-m", "flows.retrain"], [sys.executable, "-c", EMPTY_FLOW]
    return {
        "empty flow, new database": run(empty, homes["other-home"]),
        "empty flow": run(empty, homes["other-home"]),
        "everything new": run(job, environment | homes["home"]),
        "models new": run([*job, "--retrain"], environment | homes["home"]),
        "unchanged": run(job, environment | homes["home"]),
    }


def compare(runs: dict[str, Run]) -> dict[str, float]:
    """What is asked of the job: ratios, and seconds beyond the empty flow's."""
    found: dict[str, float] = {}
    for name, floor in (
        ("everything new", runs["empty flow, new database"]),
        ("models new", runs["empty flow"]),
    ):
        whole = runs[name]
        training = sum(value for step, value in whole.steps.items() if step.startswith("Train "))
        found |= {
            f"{name}: whole over training": whole.seconds / training,
            f"{name}: seconds beside training, less an empty flow's": whole.seconds
            - training
            - floor.seconds,
            f"{name}: seconds until training begins, less an empty flow's to its first line": (
                whole.marks["training begins"] - floor.marks["first line"]
            ),
        }
    unchanged = runs["unchanged"].seconds - runs["empty flow"].seconds
    return found | {"unchanged: seconds less an empty flow's": unchanged}


def stages(one: Run) -> dict[str, float]:
    """Seconds of each stage of a run, in their order; they add up to its seconds."""
    ends = {name: one.marks[name] for name in ("import", "server")}
    start_up = {"import": ends["import"], "server": ends["server"] - ends["import"]}
    if not one.steps:
        start_up["first line"] = one.marks["first line"] - ends["server"]
    return start_up | one.steps | {"end": one.last_step_to_end}


def draw(runs: dict[str, Run], path: Path) -> None:
    """A bar for each run, cut into its stages; the long ones are named."""
    with new_figure((12, 5), path) as figure:
        axes = figure.subplots()
        for row, one in enumerate(runs.values()):
            left = 0.0
            for position, (name, seconds) in enumerate(stages(one).items()):
                axes.barh(row, seconds, left=left, color=COLORS[position % len(COLORS)])
                if seconds > 0.05 * max(other.seconds for other in runs.values()):
                    middle = left + seconds / 2
                    axes.text(middle, row, name, rotation=30, fontsize=7, ha="center", va="center")
                left += seconds
        axes.set_yticks(range(len(runs)), list(runs))
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        axes.set_title(f"The whole job by stages, {usable_cores()} cores")


def processor() -> str:
    """Its name, as the kernel tells it."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def main() -> None:
    """Measure, print, write JSON and plot."""
    root = prepare_artifacts_folder()
    dataset = fetch(DataParameters(), root)
    with tempfile.TemporaryDirectory(prefix="job-") as name:
        arrays = [f"{part}{kind}.npy" for part in ("train", "test") for kind in ("", "_labels")]
        copy = Path(name) / "artifacts" / dataset.folder  # a download is not timed
        copy.mkdir(parents=True)
        for file in (*arrays, "dataset.json"):
            shutil.copyfile(root / dataset.folder / file, copy / file)
        runs = measure(Path(name))
    results: dict[str, Any] = {
        "processor": processor(),
        "cores": usable_cores(),
        "runs": {name: one._asdict() | {"stages": stages(one)} for name, one in runs.items()},
        "compared": compare(runs),
    }
    text = json.dumps(results, indent=2)
    print(text)
    write_bytes(RESULTS / "job.json", (text + "\n").encode())
    draw(runs, RESULTS / "job.svg")


if __name__ == "__main__":
    main()
