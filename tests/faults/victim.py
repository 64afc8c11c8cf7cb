"""A small run, from its start to its publication and announcement, as plain functions.

Each run is a process forked from one that has imported TensorFlow and run nothing. Before a chosen
stage it waits until strace is attached.
"""

import logging
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeVar

from flows.terminal.failures import EXPECTED_ERRORS
from tasks.codes.errors import AutoencoderError
from tasks.codes.reader import is_valid
from tasks.core.errors import TransientError, may_pass
from tasks.core.file_system import check_file_system
from tasks.core.records import SPLITS, DatasetRecord
from tasks.core.storage import describe_file, load_or_compute, prepare_artifacts_folder
from tasks.encoding.encoder import encode_split
from tasks.encoding.export import obtain_encoder, write_arrays
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.records import Metrics
from tasks.models import checkpoints, training
from tasks.models import training as _training  # noqa: F401 - imported before a run is forked
from tasks.models.architectures import DEEP
from tasks.models.obtain import obtain_model
from tasks.models.spec import TrainingSpec, choose_recipe
from tasks.models.store import ModelRecord, read_history
from tasks.parameters.retrain import Parameters
from tasks.reports.figures.charts import draw_learning_curves
from tasks.reports.report import render_files
from tasks.runs.building import ATTEMPT_FOLDER, begin_run, building_folder, run_in_progress
from tasks.runs.manifest import RunRecord
from tasks.runs.outbox import find_unannounced, record_announcement
from tasks.runs.publication import complete_run, resume_publication
from tasks.steps.step import RETRIES
from tests.conftest import BASELINES, METRICS, SAMPLE
from tests.fetching import fetch

R = TypeVar("R")
STAGES = (
    "look around",
    "fetch the dataset",
    "train",
    "encode",
    "export",
    "compute baselines",
    "evaluate",
    "draw",
    "publish",
    "announce",
)
SPEC = TrainingSpec(
    architecture=DEEP.model_copy(update={"code_size": 2, "hidden": (4,)}),
    recipe=choose_recipe("default", DEEP, epochs=3, batch_size=200),
    seed=0,
)
"""A training of 9 steps with SOAP and whitening."""


class Order(NamedTuple):
    """What a process is to run."""

    run: str
    seed: int
    """Of its model."""
    root: Path
    announcements: Path
    """Outside of the artifacts folder; takes the place of Prefect."""
    stage: str | None = None
    """From which on to wait before each stage; None for never."""


class Small(NamedTuple):
    """A run that is under way."""

    run: str
    seed: int
    """Of its model."""
    root: Path
    announcements: Path
    """Outside of the artifacts folder; takes the place of Prefect."""
    begin: Callable[[str], None]
    """Called with each stage before it begins."""
    retried: list[str]
    """The stages that were called again."""

    def attempt(self, stage: str, function: Callable[[], R]) -> R:
        """Call as a step of the flow does: again after what may pass."""
        self.begin(stage)
        for left in range(RETRIES, -1, -1):
            try:
                return function()
            except (OSError, AutoencoderError) as error:
                passes = may_pass(error) if isinstance(error, OSError) else False
                if not left or not (passes or isinstance(error, TransientError)):
                    raise
                self.retried.append(stage)
        raise AssertionError


def run(small: Small) -> None:
    """Complete, publish and announce a run, from what an earlier attempt left of it."""
    root, name = small.root, small.run
    small.begin("look around")
    prepare_artifacts_folder()
    check_file_system(root)
    with run_in_progress(name, root):
        manifest = resume_publication(name, root)
        if manifest is None:
            build(small)
        small.attempt("announce", lambda: announce(small))


def build(small: Small) -> None:
    """The steps up to the publication."""
    root, name, spec = small.root, small.run, SPEC.model_copy(update={"seed": small.seed})
    dataset = small.attempt("fetch the dataset", lambda: fetch(SAMPLE, root))
    model = small.attempt(
        "train", lambda: obtain_model(dataset, spec, "cpu", root, lambda progress: None)
    )
    folder = building_folder(name, root)
    small.attempt("encode", lambda: encode(small, dataset, model))
    small.attempt("export", lambda: obtain_encoder(model, dataset, folder, root))
    small.attempt("compute baselines", lambda: obtain_baselines(dataset, {2}, root))
    small.attempt(
        "evaluate",
        lambda: load_or_compute(folder / ATTEMPT_FOLDER / "metrics.json", Metrics, lambda: METRICS),
    )
    small.attempt("draw", lambda: draw(model, folder, root))
    small.attempt("publish", lambda: publish(small, dataset, model))


def encode(small: Small, dataset: DatasetRecord, model: ModelRecord) -> None:
    """The codes of both splits, unless an earlier attempt wrote them."""
    begin_run(small.run, dataset, [model], small.root)
    folder = building_folder(small.run, small.root)
    for split in SPLITS:
        path = folder / "codes" / f"{split}.h5"
        if not is_valid(path):
            encode_split(split, dataset, [model], path, small.root)
        write_arrays(split, [model], folder)


def draw(model: ModelRecord, folder: Path, root: Path) -> None:
    """One of the figures, as PNG and SVG."""
    path = folder / "figures" / "learning-curves.png"
    histories = {model.name: read_history(model, root).epochs}
    draw_learning_curves(histories, {}, METRICS.entropy_floor, [path, path.with_suffix(".svg")])


def publish(small: Small, dataset: DatasetRecord, model: ModelRecord) -> None:
    """Complete the run and publish it, unless an attempt did."""
    root, name = small.root, small.run
    if resume_publication(name, root):
        return
    codes = [describe_file(building_folder(name, root), f"codes/{split}.h5") for split in SPLITS]
    record = RunRecord(
        run=name,
        started=datetime.now(UTC),
        parameters=Parameters().model_dump(mode="json"),
        dataset=dataset,
        baselines=BASELINES,
        models=(model,),
        metrics={model.name: METRICS},
    )
    complete_run(record, root, render_files, codes)


def announce(small: Small) -> None:
    """Tell of what is published and was not announced."""
    if manifest := find_unannounced(SAMPLE.dataset, small.root):
        with small.announcements.open("a") as file:
            file.write(f"{manifest.run}\n")
        record_announcement(manifest, small.root)


class Outcome(NamedTuple):
    """How a run ended that was not killed."""

    error: str
    """Its type and text; empty if the run succeeded."""
    expected: bool
    """Whether the command would show it in one line."""
    retries: int


def start(order: Order, connection: Connection) -> None:
    """Run in this process; from a stage on, send the name of each stage and wait for a word.

    Last, the outcome is sent.
    """
    tempfile._name_sequence = (f"{number:08d}" for number in count())  # type: ignore[attr-defined]
    checkpoints.CHECKPOINT_SECONDS, checkpoints.MAX_COST = 0.0, 1e9
    training.CALL_SECONDS = 1e9  # how often it is called depends on no clock
    logging.disable(logging.CRITICAL)
    os.environ.update(AUTOENCODER_ARTIFACTS=str(order.root), AUTOENCODER_KEEP="1")
    waiting = False
    retries: list[str] = []

    def begin(stage: str) -> None:
        nonlocal waiting
        waiting |= stage == order.stage
        if waiting:
            connection.send(stage)
            connection.recv()

    small = Small(order.run, order.seed, order.root, order.announcements, begin, retries)
    try:
        run(small)
    except Exception as error:  # whatever it is, it is the finding
        text = f"{type(error).__name__}: {error}"
        connection.send(Outcome(text, isinstance(error, EXPECTED_ERRORS), len(retries)))
    else:
        connection.send(Outcome("", True, len(retries)))
