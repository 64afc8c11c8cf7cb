"""Starts the flow, kills it, starts it again until it completes, and compares the results.

`make crash` kills it a hundred times on the full dataset, at random moments and at named points. It
reports the kills by point, and the epochs that later attempts resumed from.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import psutil

from tests.crash.results import results
from tests.crash.victim import POINTS
from tests.prefect_server import separate_server

LOGS = "logs/*.log"
"""Of the runs at a terminal, which shows less."""
RESUMED = re.compile(r"Resuming the (\w+) model in epoch (\d+)")
RANDOM_MOMENT = "at a random moment"
RANDOM_SHARE = 0.7
"""Of the kills; the rest is spread evenly over the named points."""
RANDOM_CPU_SHARES = (0.1, 0.45)
"""Of the processor time of a run that is left alone, whatever else the machine does meanwhile: long
enough to train a little, short enough to be resumed often."""
POLL_SECONDS = 0.01
FLAGS = ["--shallow-epochs", "8", "--deep-epochs", "16"]
"""All four whitenings of the code, in a third of the default's epochs."""


class Attempt(NamedTuple):
    """One start of the flow."""

    killed: bool
    resumed: list[tuple[str, int]]
    """Model and number of finished epochs of each training that was resumed."""
    log: str
    """What it printed, then the file of its log."""
    cpu_seconds: float
    """Processor time, user and system, of all threads."""


class Victim:
    """The flow with fixed flags, and an artifacts folder for each series of attempts."""

    def __init__(
        self,
        flags: list[str],
        api_url: str,
        checkpoint_seconds: float,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start nothing yet."""
        self._flags = flags
        self._environment = {
            **os.environ,
            **variables,
            "PREFECT_API_URL": api_url,
            "CRASH_CHECKPOINT_SECONDS": str(checkpoint_seconds),
        }

    def attempt(
        self,
        root: Path,
        point: str | None = None,
        passes: int = 0,
        cpu_seconds: float | None = None,
    ) -> Attempt:
        """Run once; die at a named point, after so much processor time, or not at all."""
        variables = {"AUTOENCODER_ARTIFACTS": str(root)}
        if point:
            variables |= {"CRASH_POINT": point, "CRASH_COUNT": str(passes)}
        known = set(root.glob(LOGS))
        with tempfile.NamedTemporaryFile("w+") as log:
            code, used = self._run(variables, Path(log.name), cpu_seconds)
            text = log.read()
        text += "".join(path.read_text() for path in set(root.glob(LOGS)) - known)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"The flow ended with {code}:\n{text}")
        resumed = [(model, int(epoch) - 1) for model, epoch in RESUMED.findall(text)]
        return Attempt(code != 0, resumed, text, used)

    def _run(
        self, variables: dict[str, str], log: Path, cpu_seconds: float | None
    ) -> tuple[int, float]:
        """Start and await a process; return its exit code and the processor time it took."""
        command = [sys.executable, "-m", "tests.crash.victim", *self._flags]
        environment = {**self._environment, **variables}
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        used = _wait(process, cpu_seconds)
        return process.returncode, used


class ForkedVictim(Victim):
    """The same, forked from a process that has imported everything and run nothing."""

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have that process meanwhile."""
        command = [sys.executable, "-m", "tests.crash.victim", "--fork-on-demand"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env=self._environment, stdin=pipe, stdout=pipe, text=True
        ) as self._parent:
            yield

    def _run(
        self, variables: dict[str, str], log: Path, cpu_seconds: float | None
    ) -> tuple[int, float]:
        assert cpu_seconds is None, "nobody watches its processor time"
        orders, ended = self._parent.stdin, self._parent.stdout
        assert orders
        assert ended
        order = {"variables": variables, "flags": self._flags, "log": str(log)}
        orders.write(f"{json.dumps(order)}\n")
        orders.flush()
        return int(ended.readline()), 0.0


def _wait(process: subprocess.Popen[bytes], cpu_seconds: float | None) -> float:
    """Wait for the end, or kill after so much processor time; return how much was used."""
    times, used = psutil.Process(process.pid), 0.0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):  # it ends at this moment
            found = times.cpu_times()
            used = max(used, found.user + found.system)  # of a zombie, they may be zero
        if cpu_seconds is not None and used >= cpu_seconds:
            process.kill()
        time.sleep(POLL_SECONDS)
    return used


class Tally:
    """What was killed where, and what became of it."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.kills: Counter[str] = Counter()
        self.resumed_from: Counter[str] = Counter()
        self.late = self.series = 0

    def add(self, point: str, attempt: Attempt) -> None:
        """Count an attempt; say so if it was killed."""
        self.late += any(epoch >= 1 for _, epoch in attempt.resumed)
        self.resumed_from.update(f"{model} {epoch}" for model, epoch in attempt.resumed)
        if attempt.killed:
            self.kills[point] += 1
            print(f"{self.kills.total()}: killed {point}; resumed {attempt.resumed}", flush=True)

    def report(self) -> str:
        """The figures, as JSON."""
        figures = {
            "kills": dict(self.kills),
            "series_with_identical_results": self.series,
            "attempts_resumed_from_epoch_1_or_later": self.late,
            "resumed_from": dict(sorted(self.resumed_from.items())),
        }
        return json.dumps(figures, indent=2)


def main() -> None:
    """Kill a hundred times and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--datasets", type=Path, help="a folder datasets/ to copy, not to fetch")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)  # noqa: S311 - no secret
    tally = Tally()
    with separate_server() as api_url, tempfile.TemporaryDirectory() as name:
        victim = Victim(FLAGS, api_url, checkpoint_seconds=2.0)
        reference = Path(name) / "reference"
        if arguments.datasets:
            shutil.copytree(arguments.datasets, reference / "datasets")
        whole = victim.attempt(reference).cpu_seconds
        print(f"A run that is left alone takes {whole:.0f} s of processor time", flush=True)
        expected = results(reference, "fashion-mnist")
        while tally.kills.total() < arguments.kills:
            root = Path(name) / f"series-{tally.series}"
            shutil.copytree(reference / "datasets", root / "datasets")
            _kill_until_complete(victim, root, whole, generator, tally)
            if results(root, "fashion-mnist") != expected:
                raise AssertionError(f"Series {tally.series} ended with other results: {root}")
            shutil.rmtree(root)
            tally.series += 1
    print(tally.report())


def _kill_until_complete(
    victim: Victim, root: Path, whole: float, generator: random.Random, tally: Tally
) -> None:
    """Start the flow until it is not killed any more."""
    killed = True
    while killed:
        point = _next_point(generator, tally.kills)
        attempt = _attempt_at(point, victim, root, whole, generator)
        tally.add(point, attempt)
        killed = attempt.killed


def _attempt_at(
    point: str, victim: Victim, root: Path, whole: float, generator: random.Random
) -> Attempt:
    if point == RANDOM_MOMENT:
        return victim.attempt(root, cpu_seconds=whole * generator.uniform(*RANDOM_CPU_SHARES))
    passes = generator.randrange(3) if "checkpoint" in point else 0
    return victim.attempt(root, point, passes)


def _next_point(generator: random.Random, kills: Counter[str]) -> str:
    if generator.random() < RANDOM_SHARE:
        return RANDOM_MOMENT
    fewest = min(kills[point] for point in POINTS)
    return generator.choice([point for point in POINTS if kills[point] == fewest])


if __name__ == "__main__":
    main()
