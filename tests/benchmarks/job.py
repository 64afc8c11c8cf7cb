"""The time of the whole job by stages, as part of `make bench`, beside an empty Prefect flow.

Some four minutes on two quiet cores. Each run is a command in a process of its own, with a home
folder of Prefect that is new at first. What happens when is told by the lines that it prints, and
by those of its log file. Seconds until a line are those of everything before it, so a step's
seconds contain what Prefect does between two steps. Short runs take turns with an empty flow, and
the median of each kind counts. Only one run trains all epochs: where the baselines are new, it is
one epoch, as the other steps do not depend on their number.
"""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.codes.published import MANIFEST_FILE, ROOT_VARIABLE, run_folder
from tasks.core.records import DatasetRecord
from tasks.core.settings import PREFIX
from tasks.core.storage import prepare_artifacts_folder, write_bytes
from tasks.models.architectures import DenseArchitecture
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.reports.figures.plotting import mpl
from tasks.reports.figures.style import new_figure
from tasks.runs.manifest import read_manifest
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.training import (
    RESULTS,
    kernel_weights,
    multiply_adds,
    optimizer_multiply_adds,
    product_rate,
)
from tests.fetching import fetch

EMPTY_FLOW = """
from prefect import flow

@flow(log_prints=True)
def empty():
    print("the first line")

"""
ON_PREFECTS_SERVER = f"{EMPTY_FLOW}empty()"
ON_OUR_SERVER = f"""
from flows.terminal.temporary_server import temporary_server
{EMPTY_FLOW}
with temporary_server(600, lambda: None):
    empty()
"""
PATIENCE = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
"""Prefect gives its own temporary servers 20 s to start, which a busy machine exceeds."""
EVERYTHING_NEW, ONE_EPOCH = "everything new, one epoch", "models new, one epoch"
MODELS_NEW = "models new"
REPETITIONS = 3
"""Of runs that train nothing."""
STEP = re.compile(r"tasks\.steps\.step - (.*?): ")
MARKS: dict[str, Callable[[str], bool]] = {
    "import": lambda line: "emporary" in line and "Starting" in line,
    "server": lambda line: "Beginning flow run" in line,
    "first line": lambda line: "the first line" in line or bool(STEP.search(line)),
}
"""Lines that end the stages of the start-up, in their order."""


class Run(NamedTuple):
    """A command that has ended."""

    seconds: float
    processor_seconds: float
    """Of all its processes."""
    peak_mib: float
    """Largest resident memory, pages of files included: of the steps of a run, which each count
    their own; otherwise of one of its processes, at least that of this one, as it was forked."""
    marks: dict[str, float]
    """Seconds from the start to the first line of each kind of `MARKS`."""
    steps: dict[str, float]
    """Seconds of each step; from the line of the one before it."""
    last_step_to_end: float


def run(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command and time the lines that it prints."""
    folder = Path(environment.get(ROOT_VARIABLE, "/nowhere")) / "logs"
    known, begun = set(folder.glob("*.log")), datetime.now()
    started = time.monotonic()
    with subprocess.Popen(
        command,
        env={**_own_environment(), **PATIENCE, **environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        lines = [(time.monotonic() - started, line) for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode:
        text = "".join(line for _, line in lines)
        raise RuntimeError(f"{command} ended with code {process.returncode}:\n{text}")
    peak = usage.ru_maxrss * 1024
    for path in set(folder.glob("*.log")) - known:
        lines += read_log(path, begun)
        peak = max([peak, *read_peaks(run_folder(path.stem, folder.parent))])
    marks, steps, last = find_stages(lines)
    return Run(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_mib=peak / 2**20,
        marks=marks,
        steps=steps,
        last_step_to_end=seconds - (last or marks.get("first line", 0.0)),
    )


def _own_environment() -> dict[str, str]:
    """This process's, without what the user has set for Prefect or for the job."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", PREFIX))
    }


def read_log(path: Path, begun: datetime) -> Iterator[tuple[float, str]]:
    """The lines of a run's log file that begin with a time, with their seconds since `begun`."""
    for line in path.read_text().splitlines():
        stamp, separator, _ = line.partition(" | ")
        if separator and len(stamp) == len("2026-01-01T00:00:00.000"):
            yield (datetime.fromisoformat(stamp) - begun).total_seconds(), line


def read_peaks(folder: Path) -> list[int]:
    """The largest resident memory in each step of a run, bytes; none if it made no new one."""
    if not (folder / MANIFEST_FILE).exists():
        return []
    return [cost.peak_bytes for cost in read_manifest(folder).costs if cost.peak_bytes]


def find_stages(
    lines: list[tuple[float, str]],
) -> tuple[dict[str, float], dict[str, float], float]:
    """Seconds until each mark, seconds of each step, and seconds until the end of the last one.

    Args:
        lines: with the seconds from the start of the command to each.
    """
    marks: dict[str, float] = {}
    steps: dict[str, float] = {}
    last = 0.0
    for now, line in lines:
        for name in (name for name, is_mark in MARKS.items() if is_mark(line)):
            marks.setdefault(name, now)
        if found := STEP.search(line):
            steps[found[1]], last = now - (last or marks.get("server", 0.0)), now
    return marks, steps, last


def measure(folder: Path) -> dict[str, Run]:
    """Every run, one after the other: each finds what those before it have left."""
    environment = {ROOT_VARIABLE: str(folder / "artifacts")}
    homes = {name: {"PREFECT_HOME": str(folder / name)} for name in ("home", "other-home")}
    job = [sys.executable, "-m", "flows.retrain"]
    empty, ours = ([sys.executable, "-c", code] for code in (ON_PREFECTS_SERVER, ON_OUR_SERVER))
    runs = {
        "empty flow, new database": run(empty, homes["other-home"]),
        EVERYTHING_NEW: run([*job, "--quick"], environment | homes["home"]),
        ONE_EPOCH: run([*job, "--quick", "--seed", "1"], environment | homes["home"]),
        MODELS_NEW: run(job, environment | homes["home"]),
    }
    short = {
        "empty flow": (empty, homes["other-home"]),
        "empty flow, our server": (ours, homes["other-home"]),
        "unchanged": (job, environment | homes["home"]),
    }
    turns = [{name: run(*one) for name, one in short.items()} for _ in range(REPETITIONS)]
    return runs | {name: median([turn[name] for turn in turns]) for name in short}


def median(runs: list[Run]) -> Run:
    """The run of the median seconds."""
    return sorted(runs, key=lambda one: one.seconds)[len(runs) // 2]


def compare(runs: dict[str, Run]) -> dict[str, float]:
    """What is asked of the job: ratios, and seconds beyond the empty flow's."""
    found: dict[str, float] = {}
    full, empty = _training_seconds(runs[MODELS_NEW]), runs["empty flow"]
    for name in (EVERYTHING_NEW, MODELS_NEW):
        beside = runs[name].seconds - _training_seconds(runs[name])
        found |= {
            f"{name}: all but training, over all epochs of training, plus 1": 1 + beside / full,
            f"{name}: seconds beside training, less an empty flow's": beside - empty.seconds,
        }
    for name in (EVERYTHING_NEW, ONE_EPOCH):
        found[f"{name}: seconds to the first trained model, less an empty flow's first line"] = (
            _seconds_to_first_model(runs[name]) - empty.marks["first line"]
        )
    for name in ("unchanged", "empty flow, our server"):
        more = runs[name].seconds - empty.seconds
        found[f"{name}: seconds less an empty flow's"] = more
        more = runs[name].processor_seconds - empty.processor_seconds
        found[f"{name}: processor seconds less an empty flow's"] = more
    return found


def _seconds_to_first_model(one: Run) -> float:
    """From the command until the first model has trained; a bound on the first optimizer step."""
    seconds = one.marks["server"]
    for name, taken in one.steps.items():
        seconds += taken
        if name.startswith("Train "):
            return seconds
    raise ValueError("The run trained no model")


def _training_seconds(one: Run) -> float:
    return sum(seconds for step, seconds in one.steps.items() if step.startswith("Train "))


def stages(one: Run) -> dict[str, float]:
    """Seconds of each stage of a run, in their order; they add up to its seconds."""
    ends = {name: one.marks[name] for name in ("import", "server")}
    start_up = {"import": ends["import"], "server": ends["server"] - ends["import"]}
    if not one.steps:
        start_up["first line"] = one.marks["first line"] - ends["server"]
    return start_up | one.steps | {"end": one.last_step_to_end}


STAGE_OF = {
    "import": "imports",
    "server": "server",
    "first line": "server",
    "Look for an earlier attempt": "dataset, checks",
    "Choose the device": "dataset, checks",
    "Fetch and verify the dataset": "dataset, checks",
    "Choose the coordinate systems": "dataset, checks",
    "Check whether anything would change": "dataset, checks",
    "Train the shallow model": "training",
    "Train the deep model": "training",
    "Encode the train images": "encoding",
    "Encode the test images": "encoding",
    "Export the encoders": "encoding",
    "Compute the baselines": "baselines",
    "Evaluate the shallow model": "evaluation",
    "Evaluate the deep model": "evaluation",
    "Draw the figures": "figures",
    "Publish the run if it is good enough": "publication",
    "end": "end",
}
"""The part of a bar that a stage belongs to, in the order of a run."""


def draw(runs: dict[str, Run], title: str, path: Path) -> None:
    """A bar for each run, cut into its stages."""
    parts = {part: np.zeros(len(runs)) for part in STAGE_OF.values()}
    for row, one in enumerate(runs.values()):
        for name, seconds in stages(one).items():
            parts[STAGE_OF[name]][row] += seconds
    with new_figure((11, 4.2), path) as figure:
        axes = figure.subplots()
        left = np.zeros(len(runs))
        for color, (part, widths) in zip(mpl.color_sequences["tab10"], parts.items(), strict=True):
            axes.barh(list(runs), widths, left=left, color=color, label=part)
            left += widths
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        axes.set_title(title)
        axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)


def find_floors(dataset: DatasetRecord, quick: bool, rate: float) -> dict[str, float]:
    """Seconds that the products of a run's steps take at least; other steps have hardly any.

    Training as in `tests.benchmarks.training`. Encoding, and evaluation before it compares: the
    weights once an image. Neighbours: test images with training images. PCA: the covariance.

    Args:
        rate: floating-point operations per second of a large product.
    """
    train, test, pixels = dataset.rows["train"], dataset.rows["test"], dataset.pixels
    counts = dict.fromkeys(("Encode the train images", "Encode the test images"), 0)
    for spec in Parameters(run=RunParameters(quick=quick)).specs():
        assert isinstance(spec.architecture, DenseArchitecture)
        name, size = spec.architecture.name, spec.architecture.code_size
        weights = sum(kernel_weights(spec.architecture, dataset))
        epoch = multiply_adds(spec.architecture, dataset) + optimizer_multiply_adds(spec, dataset)
        counts[f"Train the {name} model"] = spec.recipe.epochs * epoch
        counts["Encode the train images"] += train * weights
        counts["Encode the test images"] += test * weights
        counts[f"Evaluate the {name} model"] = test * (weights + train * size)
        counts["Compute the baselines"] = test * train * (pixels + size) + train * pixels**2
    return {name: 2 * count / rate for name, count in counts.items()}


def print_stages(name: str, one: Run, floors: dict[str, float]) -> None:
    """A row for each stage: its seconds, and its floor where it has one."""
    print(f"\n{name}: {one.seconds:.1f} s, {one.processor_seconds:.1f} processor seconds")
    for stage, seconds in stages(one).items():
        floor = f"{floors[stage]:8.2f}" if stage in floors else ""
        print(f"  {stage:40}{seconds:8.2f}{floor}")


def main() -> None:
    """Measure, print, write JSON and plot."""
    root = prepare_artifacts_folder()
    dataset = fetch(DataParameters(), root)
    with tempfile.TemporaryDirectory(prefix="job-") as name:
        arrays = [f"{part}{kind}.npy" for part in ("train", "test") for kind in ("", "_labels")]
        copy = Path(name) / "artifacts" / dataset.folder  # no download is timed
        copy.mkdir(parents=True)
        for file in (*arrays, "dataset.json"):
            shutil.copyfile(root / dataset.folder / file, copy / file)
        runs = measure(Path(name))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rate = pool.apply(product_rate, ("ours",))
    start_up = stages(runs["empty flow"])
    floors = {
        name: {stage: start_up[stage] for stage in ("import", "server")}
        | find_floors(dataset, name != MODELS_NEW, rate)
        for name in (EVERYTHING_NEW, ONE_EPOCH, MODELS_NEW)
    }
    for name in (ONE_EPOCH, MODELS_NEW):
        del floors[name]["Compute the baselines"]  # which the run before has stored
    results: dict[str, Any] = {
        **describe_machine(),
        "product_gflops": rate / 1e9,
        "runs": {name: one._asdict() | {"stages": stages(one)} for name, one in runs.items()},
        "floors": floors,
        "compared": compare(runs),
    }
    for name, one in runs.items():
        print_stages(name, one, floors.get(name, {}))
    print(json.dumps(results["compared"], indent=2))
    write_bytes(RESULTS / "job.json", (json.dumps(results, indent=2) + "\n").encode())
    title = "The whole job by stages, {cores} cores of {processor}".format_map(results)
    draw(runs, title, RESULTS / "job.svg")


if __name__ == "__main__":
    main()
