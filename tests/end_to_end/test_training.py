"""What trainings promise that takes longer to see than unit tests may take."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tasks.models.anchoring import AnchorValues
from tasks.models.architectures import DEEP, SHALLOW, WIDE, Architecture
from tasks.models.training import Training
from tests.conftest import sample_images
from tests.end_to_end.containers import REPOSITORY
from tests.tasks.models.test_training import (
    ANCHOR,
    Sample,
    check_units,
    finish,
    start,
    training_of,
    unit_scale,
    with_adam,
)

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


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(*sample_images())


def test_units_of_the_wide_model_have_standard_deviation_1(sample: Sample) -> None:
    training = start(training_of(WIDE), sample)
    finish(training)
    check_units(training, sample)


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP], ids=lambda a: a.name)
def test_an_anchored_model_keeps_the_coordinate_system(
    architecture: Architecture, sample: Sample
) -> None:
    """With another seed, the new code of a test image is nearest to its own old code."""
    spec = with_adam(training_of(architecture, epochs=40))
    other = spec.model_copy(update={"seed": 1})
    free = start(spec, sample)
    finish(free)
    old_train, old_test = (
        free.models.encoder(unit_scale(images)).numpy() for images in (sample.train, sample.test)
    )
    values = AnchorValues(free.models.encoder.get_weights(), old_train)
    anchored = Training(other.anchored_to(ANCHOR), sample.train, sample.test, 255.0, anchor=values)
    finish(anchored)
    free.spec = other  # with the first weights of its seed: what is compiled is the same
    free.restore(start(other, sample).state)
    finish(free)

    def share(training: Training) -> float:
        new = training.models.encoder(unit_scale(sample.test)).numpy()
        distances = ((new[:, np.newaxis] - old_test) ** 2).sum(axis=2)  # (images, images)
        return float((distances.argmin(axis=1) == np.arange(len(new))).mean())

    assert share(free) < 0.1
    assert share(anchored) > 0.7  # 512 images are few to learn it from
