"""Readers under fire: `python -m tests.crash.readers`.

Some processes read what is published, again and again, and verify all of it. Meanwhile another one
publishes runs, has runs refused, deletes old ones, and is killed at random moments. Every reader
must see complete, verified, consistent results at every moment.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType

from tasks.codes.published import open_published
from tasks.core.records import SPLITS, DatasetRecord
from tasks.models.obtain import obtain_model
from tasks.models.store import ModelRecord
from tasks.runs.building import run_in_progress
from tasks.runs.lookup import check_files, find_published
from tasks.runs.manifest import read_manifest
from tests.conftest import METRICS, SAMPLE, SPEC, codes_file, complete
from tests.fetching import fetch

GRACE_SECONDS = 10.0
KEEP = 2
READERS = 2
WORSE = METRICS.model_copy(update={"validation_loss": 0.4})
REFUSED_SHARE = 0.2
EVENTS = {"published": "switches", "refused": "refusals"}
"""What a run's outcome is counted as."""
LIFETIME_SECONDS = (0.2, 4.0)
"""Of a publishing process, from when it is ready until it is killed."""


def train(number: int, dataset: DatasetRecord, root: Path) -> ModelRecord:
    """One of two models of the sample, in turn; as a rule it is there already."""
    spec = SPEC.model_copy(update={"seed": number % 2})
    return obtain_model(dataset, spec, "cpu", root, lambda progress: None)


def publish_forever(root: Path, seed: int) -> None:
    """Complete one run after the other, some good enough and some not; print what happens."""
    dataset = fetch(SAMPLE, root)
    for number in range(2):
        codes_file("test", train(number, dataset, root), dataset, root)  # compiles its encoder
    print("ready", flush=True)
    generator = random.Random(seed)  # noqa: S311 - no secret
    os.environ["AUTOENCODER_KEEP"] = str(KEEP)
    os.environ["AUTOENCODER_GRACE_HOURS"] = str(GRACE_SECONDS / 3600)
    for number in count():
        run, before = f"run-{seed}-{number}", _runs(root)
        metrics = WORSE if generator.random() < REFUSED_SHARE else METRICS
        with run_in_progress(run, root):
            model = train(number, dataset, root)
            manifest = complete(run, model, dataset, root, metrics)
        print(EVENTS[manifest.verdict.outcome], flush=True)
        for _ in before - _runs(root):
            print("deletions", flush=True)


def _runs(root: Path) -> set[str]:
    return {path.name for path in (root / "runs").glob("[!.]*")}


def read_forever(root: Path, connection: Connection) -> None:
    """Read all of what is published until told to stop; send the figures and the first fault."""
    figures: Counter[str] = Counter()
    seen: set[str] = set()
    fault = None
    while not connection.poll() and fault is None:
        started = time.monotonic()
        try:
            seen.add(read_everything(root))
            figures["reads"] += 1
        except Exception as error:  # whatever it is, it is the finding
            fault = f"{type(error).__name__}: {error}"
            if time.monotonic() - started > GRACE_SECONDS:
                figures["reads that took longer than the grace period"] += 1
                fault = None
    connection.send((figures, len(seen), fault))


def read_everything(root: Path) -> str:
    """Read and verify the published run; its codes must be those of its encoder."""
    run = open_published(SAMPLE.dataset, root)
    check_files(run.folder, read_manifest(run.folder).files)
    (model,) = run.models
    record = run.file(f"models/{model}/model.json")
    encoder = ModelRecord.model_validate_json(record.read_bytes())
    for split in SPLITS:
        found = run.codes(split, model).model
        if found.encoder_weights_sha256 != encoder.encoder_weights_sha256:
            raise AssertionError(f"{run.name}: codes and encoder are of two models")
    return run.name


def publish_and_die(root: Path, seed: int, seconds: float) -> Counter[str]:
    """Publish for so long, then die at whatever point that is; count what happened until then.

    What happened just before the death may not have been told: there is at least so much.
    """
    command = [sys.executable, "-m", "tests.crash.readers", "--publish", str(root)]
    with subprocess.Popen(
        [*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise AssertionError("The publisher did not start")
        time.sleep(seconds)
        process.kill()
        events = Counter(process.stdout.read().split())
    if process.returncode != -signal.SIGKILL:
        raise AssertionError(f"The publisher ended by itself with {process.returncode}")
    return events


def besiege(
    root: Path, seconds: float, seed: int = 0, least: Mapping[str, int] = MappingProxyType({})
) -> dict[str, int]:
    """Publish and read for so long; count reads, switches, refusals, deletions and kills.

    Args:
        least: of what is counted until the last kill, go on until there was so much: a busy machine
            takes its time.

    Raises:
        AssertionError: a reader saw something that must not be.
    """
    dataset = fetch(SAMPLE, root)
    complete("run-first", train(0, dataset, root), dataset, root)
    pipes = []
    for _ in range(READERS):
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.get_context("spawn").Process(
            target=read_forever, args=(root, theirs), daemon=True
        ).start()
        pipes.append(ours)
    generator = random.Random(seed)  # noqa: S311 - no secret
    figures: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(figures[name] < count for name, count in least.items()):
        lifetime = generator.uniform(*LIFETIME_SECONDS)
        figures += publish_and_die(root, figures["kills"], lifetime)
        figures["kills"] += 1
    for pipe in pipes:
        pipe.send("stop")
        found, seen, fault = pipe.recv()
        if fault:
            raise AssertionError(f"A reader saw: {fault}")
        figures += found
        figures["switches seen by readers"] += seen - 1
    if find_published(SAMPLE.dataset, root) is None:
        raise AssertionError("Nothing is published in the end")
    return dict(figures)


def main() -> None:
    """Run for some minutes and report; or be the publisher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.publish:
        publish_forever(arguments.publish, arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(besiege(Path(name), arguments.seconds, arguments.seed), indent=2))


if __name__ == "__main__":
    main()
