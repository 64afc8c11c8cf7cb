"""The number of cores changes no bit."""

import os
import subprocess
import sys

from tests.end_to_end.containers import REPOSITORY

TRAIN = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1:]))
from tests.tasks.models.test_training import *
for spec in (training_of(DEEP), ANCHORED):
    training = start(spec, Sample(*sample_images()))
    finish(training)
    print(weights(training))
"""


def train_on(cores: list[int]) -> list[str]:
    """Train a deep and an anchored model; return the digests of their weights."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *map(str, cores)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_one_core_computes_is_what_all_compute() -> None:
    """The eigenbases too."""
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) > 1
    alone, together = train_on(cores[:1]), train_on(cores)
    assert len(alone) == 2
    assert alone == together
