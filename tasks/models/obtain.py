"""Obtaining a model: reuse it, resume its training, or train it, never twice and never in part."""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.core.errors import ModelError
from tasks.core.locks import lock
from tasks.core.memory import total_memory
from tasks.core.records import DatasetRecord, DeviceKind
from tasks.core.storage import make_folder, remove_partial_files, write_errors_explained
from tasks.images.store import open_images, representative_rows
from tasks.models.architectures import DenseArchitecture
from tasks.models.checkpoints import Checkpoints, Progress
from tasks.models.fingerprint import Facts, describe_changes, digest_of, training_facts
from tasks.models.spec import TrainingSpec
from tasks.models.store import FACTS_FILE, ModelRecord, model_lock, store_model, stored_model

if TYPE_CHECKING:
    from tasks.models.anchoring import AnchorValues
    from tasks.models.training import Training

logger = logging.getLogger(__name__)

Report = Callable[[Progress], None]


class TrainingStoppedError(Exception):
    """The training ended between two steps because somebody asked it to stop."""


def obtain_model(
    dataset: DatasetRecord,
    spec: TrainingSpec,
    device: DeviceKind,
    root: Path,
    report: Report,
    retrain: bool = False,
    anchor: Path | None = None,
) -> ModelRecord:
    """Give the stored model with this fingerprint if its files verify, else train it.

    Args:
        spec: names the anchor, if there is one.
        report: called many times a second during the training. It may raise `TrainingStoppedError`
            to stop the training where nobody can interrupt the calling thread.
        retrain: train even if it is stored.
        anchor: the file of the anchor's encoder.

    Raises:
        ModelError: the model cannot be trained here.
    """
    facts = training_facts(dataset, spec, device)
    fingerprint = digest_of(facts)
    folder = root / "models" / fingerprint
    with lock(model_lock(fingerprint), root):
        checkpoints = Checkpoints(folder / "checkpoints", fingerprint)
        if not retrain and (stored := stored_model(folder)):
            logger.info("The %s model exists: not trained again", stored.name)
            checkpoints.clear()  # of a process that was killed just after it had stored the model
            return stored
        with suppress(OSError, ValueError):  # no training fails for a line in the log
            _log_changes(facts, root)
        remove_partial_files(folder)
        started = time.monotonic()
        values = _anchor_values(dataset, spec, anchor, checkpoints.folder, root)
        training = _train(dataset, spec, checkpoints, values, root, report)
        seconds = time.monotonic() - started
        record = store_model(training, dataset, facts, device, seconds, root, anchor)
        checkpoints.clear()
        return record


def check_memory(dataset: DatasetRecord, spec: TrainingSpec) -> None:
    """Refuse a training that this machine cannot hold in memory, before it allocates anything.

    Raises:
        ModelError: it takes more; gives the numbers.
    """
    needed, total = estimate_memory(dataset, spec), total_memory()
    if needed > total:
        batch, name = spec.recipe.batch_size, spec.architecture.name
        raise ModelError(
            f"Training the {name} model ({spec.architecture.describe(dataset.image_shape)}) in "
            f"batches of {batch} images takes at least {needed / 2**30:.1f} GiB, and there are "
            f"{total / 2**30:.1f} GiB of memory: choose smaller batches, layers or images"
        )


def estimate_memory(dataset: DatasetRecord, spec: TrainingSpec) -> int:
    """Bytes that a training takes at least: less than it takes, so that nothing is refused wrongly.

    Of a batch: the images twice, as the next one is gathered meanwhile, and in float32 the output
    of every layer and its gradient. Of dense layers: weights, gradients and two moments, float32.
    """
    batch = min(spec.recipe.batch_size, dataset.rows["train"])
    architecture, pixels = spec.architecture, dataset.pixels
    sizes, weights = [pixels, architecture.code_size, pixels], 0
    if isinstance(architecture, DenseArchitecture):
        sizes = architecture.layer_sizes(dataset.image_shape)
        weights = sum(before * after for before, after in pairwise(sizes))
    images = 2 * batch * pixels * np.dtype(dataset.dtype).itemsize
    return images + 4 * (2 * batch * sum(sizes) + 4 * weights)


def _log_changes(facts: Facts, root: Path) -> None:
    """Say why a model of the same name, trained on the same images, is not reused."""
    stored = [json.loads(path.read_bytes()) for path in root.glob(f"models/*/{FACTS_FILE}")]
    same = ("architecture.name", "images")
    similar = [other for other in stored if all(other.get(x) == facts[x] for x in same)]
    if similar and facts not in similar:
        changes = min((describe_changes(other, facts) for other in similar), key=len)
        logger.info(
            "A %s model of these images exists, but its training differs: %s",
            facts["architecture.name"],
            "; ".join(changes),
        )


def _train(
    dataset: DatasetRecord,
    spec: TrainingSpec,
    checkpoints: Checkpoints,
    anchor: "AnchorValues | None",
    root: Path,
    report: Report,
) -> "Training":
    """Train from the newest checkpoint, or from the start."""
    check_memory(dataset, spec)
    from tasks.models.training import SAMPLE_ROWS, Training

    name = spec.architecture.name
    training = Training(
        spec,
        open_images(dataset, "train", root),
        open_images(dataset, "test", root),
        dataset.scale,
        representative_rows(dataset, "train", SAMPLE_ROWS, root),
        anchor,
    )
    for model in (training.models.autoencoder, training.models.encoder):
        model.summary(print_fn=logger.info, line_length=80)
    factor = dataset.pixels / spec.architecture.code_size
    logger.info("Compression factor of the %s model: %g", name, factor)
    if state := checkpoints.load():
        training.restore(state)
        logger.info("Resuming the %s model in epoch %d", name, state.position.epoch + 1)
    logger.info("Compiling the training of the %s model", name)
    run_interruptibly(training, checkpoints, report)
    return training


def _anchor_values(
    dataset: DatasetRecord, spec: TrainingSpec, anchor: Path | None, folder: Path, root: Path
) -> "AnchorValues | None":
    """The anchor's weights, and its codes of the training images in a file of the folder."""
    if spec.anchor is None:
        return None
    if anchor is None:
        raise ValueError(f"No file for the anchor {spec.anchor.basis[:12]}")
    from tasks.models.anchoring import CODES_FILE, AnchorValues, load_anchor, write_anchor_codes

    images = open_images(dataset, "train", root)
    encoder = load_anchor(spec.anchor, anchor, images)
    with write_errors_explained(folder):
        make_folder(folder)
    codes = write_anchor_codes(encoder, spec.anchor.scale, images, folder / CODES_FILE)
    return AnchorValues(encoder.get_weights(), codes)


def run_interruptibly(training: "Training", checkpoints: Checkpoints, report: Report) -> None:
    """Run a training to its end in a thread, with checkpoints.

    Whatever interrupts the calling thread (Ctrl-C, SIGTERM, a cancellation, a time-out) arrives
    here, not within a compiled function. The training then ends its call, within about a second,
    stores its state, and the interruption goes on.
    """
    stop = threading.Event()

    def train() -> None:
        try:
            for _ in training.advance():
                if stop.is_set():
                    raise TrainingStoppedError
                if checkpoints.due:
                    checkpoints.save(training.state)
                report(training.progress)
        except TrainingStoppedError:
            checkpoints.save(training.state)
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="training") as executor:
        try:  # the interruption may arrive as soon as the thread has started, within `submit`
            # The context carries the Prefect run that log lines belong to.
            executor.submit(copy_context().run, train).result()
        finally:
            stop.set()
