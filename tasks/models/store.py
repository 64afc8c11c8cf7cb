"""Trained models in the artifacts folder, each under its fingerprint: never trained twice."""

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from tasks.core.locks import lock
from tasks.core.records import DatasetRecord, DeviceKind, EpochRecord, FileRecord, Record, Sha256
from tasks.core.storage import atomic_file, describe_file, remove_partial_files, write_record
from tasks.core.versions import installed_versions
from tasks.images.store import open_images, representative_rows
from tasks.models.checkpoints import Checkpoints
from tasks.models.recipes import TrainingSpec
from tasks.models.state import Progress

if TYPE_CHECKING:
    from tasks.core.backend import keras
    from tasks.models.training import Training

logger = logging.getLogger(__name__)

TRAINING_VERSION = 2
"""Raise it with every change that changes trained weights; a test on the fixture notices."""
AUTOENCODER_FILE = "autoencoder.keras"
ENCODER_FILE = "encoder.keras"
HISTORY_FILE = "history.json"
RECORD_FILE = "model.json"


class History(Record):
    """How the loss went; holds no clock times, so equal trainings leave equal bytes."""

    epochs: tuple[EpochRecord, ...]


class ModelRecord(Record):
    """A trained model in the artifacts folder."""

    name: str
    fingerprint: Sha256
    folder: str = Field(description="relative to the artifacts folder")
    layers: str = Field(description="layer sizes, input and output included")
    spec: TrainingSpec
    device: DeviceKind
    dataset_payload_sha256: Sha256
    parameters: int = Field(description="trainable parameters of the autoencoder")
    encoder_parameters: int
    weights_sha256: Sha256 = Field(description="of the autoencoder's weights")
    encoder_weights_sha256: Sha256
    loss: float
    validation_loss: float
    seconds: float = Field(description="of training, compilation included")
    files: tuple[FileRecord, ...]


def fingerprint_of(dataset: DatasetRecord, spec: TrainingSpec, device: DeviceKind) -> Sha256:
    """SHA-256 of everything that determines the trained weights."""
    versions = installed_versions()
    facts = {
        "payload": dataset.payload_sha256,
        "spec": spec.model_dump(mode="json"),
        "device": device,
        "training_version": TRAINING_VERSION,
        "tensorflow": versions.tensorflow,
        "keras": versions.keras,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def weights_sha256(model: "keras.Model") -> Sha256:
    """SHA-256 of a model's weights: of each, in Keras's order, its type, shape and values."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.dtype.str}{weight.shape}".encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()


def obtain_model(
    dataset: DatasetRecord,
    spec: TrainingSpec,
    device: DeviceKind,
    root: Path,
    report: Callable[[Progress], None],
    retrain: bool = False,
) -> ModelRecord:
    """Give the model of this fingerprint: the stored one if its files verify, else a trained one.

    Args:
        report: called many times a second while training; where nobody can interrupt the calling
            thread, it may raise `TrainingStoppedError` instead.
        retrain: train even if it is stored.
    """
    fingerprint = fingerprint_of(dataset, spec, device)
    folder = root / "models" / fingerprint
    with lock(_lock_name(fingerprint), root):
        if not retrain and (stored := stored_model(folder)):
            logger.info("The %s model is there already: not trained again", stored.name)
            return stored
        remove_partial_files(folder)
        checkpoints = Checkpoints(folder / "checkpoints", fingerprint)
        started = time.monotonic()
        training = _train(dataset, spec, checkpoints, root, report)
        seconds = time.monotonic() - started
        record = _store(training, dataset, fingerprint, device, seconds, root)
        checkpoints.clear()
        return record


def _lock_name(fingerprint: Sha256) -> str:
    return f"model-{fingerprint[:16]}"


def copy_model(record: ModelRecord, target: Path, root: Path) -> bool:
    """Copy a model's files; tell whether they are those of the record."""
    source = root / record.folder
    with lock(_lock_name(record.fingerprint), root):
        if stored_model(source) != record:
            return False
        target.mkdir(parents=True, exist_ok=True)
        for name in (RECORD_FILE, *(file.path for file in record.files)):
            shutil.copyfile(source / name, target / name)
    return True


def stored_model(folder: Path) -> ModelRecord | None:
    """The model in a folder, if it is complete and every file has the recorded SHA-256."""
    if not (folder / RECORD_FILE).exists():
        return None
    try:
        record = ModelRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
        damaged = [file.path for file in record.files if describe_file(folder, file.path) != file]
    except (OSError, ValidationError) as error:
        damaged = [str(error)]
    if damaged:
        logger.warning("The model in %s is damaged (%s): trained anew", folder.name, damaged[0])
        return None
    return record


def _train(
    dataset: DatasetRecord,
    spec: TrainingSpec,
    checkpoints: Checkpoints,
    root: Path,
    report: Callable[[Progress], None],
) -> "Training":
    """Train from the newest checkpoint, or from the start."""
    from tasks.models.training import SAMPLE_ROWS, Training

    training = Training(
        spec,
        open_images(dataset, "train", root),
        open_images(dataset, "test", root),
        dataset.scale,
        representative_rows(dataset, "train", SAMPLE_ROWS, root),
    )
    _log_summaries(training, dataset.pixels)
    if state := checkpoints.load():
        training.restore(state)
        logger.info("Resuming the %s model in epoch %d", spec.architecture.name, state.epoch + 1)
    run_interruptibly(training, checkpoints, report)
    return training


def _log_summaries(training: "Training", pixels: int) -> None:
    from tasks.models.architectures import summarize

    architecture = training.spec.architecture
    for model in (training.models.autoencoder, training.models.encoder):
        logger.info("%s\n%s", model.name, summarize(model))
    factor = pixels / architecture.code_size
    logger.info("Compression factor of the %s model: %g", architecture.name, factor)


class TrainingStoppedError(Exception):
    """The training ended between two segments because its process, or who waits for it, does."""


def run_interruptibly(
    training: "Training", checkpoints: Checkpoints, report: Callable[[Progress], None]
) -> None:
    """Run a training to its end, with checkpoints.

    It runs in a thread. Whatever interrupts the calling thread (Ctrl-C, SIGTERM, a cancellation, a
    time-out) arrives here, not amid a segment; the training then finishes its segment, stores its
    state, and the interruption goes on.
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
        # The context carries the Prefect run that log lines belong to.
        future = executor.submit(copy_context().run, train)
        try:
            future.result()
        finally:
            stop.set()


def _store(
    training: "Training",
    dataset: DatasetRecord,
    fingerprint: Sha256,
    device: DeviceKind,
    seconds: float,
    root: Path,
) -> ModelRecord:
    """Write the model's files; the record, which makes them count, comes last."""
    autoencoder, encoder, _ = training.models
    folder = root / "models" / fingerprint
    for name, model in ((AUTOENCODER_FILE, autoencoder), (ENCODER_FILE, encoder)):
        with atomic_file(folder / name) as partial:
            model.save(partial)
    history = History(epochs=training.history)
    write_record(folder / HISTORY_FILE, history)
    architecture = training.spec.architecture
    record = ModelRecord(
        name=architecture.name,
        fingerprint=fingerprint,
        folder=f"models/{fingerprint}",
        layers=architecture.describe(dataset.pixels),
        spec=training.spec,
        device=device,
        dataset_payload_sha256=dataset.payload_sha256,
        parameters=autoencoder.count_params(),
        encoder_parameters=encoder.count_params(),
        weights_sha256=weights_sha256(autoencoder),
        encoder_weights_sha256=weights_sha256(encoder),
        loss=history.epochs[-1].loss,
        validation_loss=history.epochs[-1].validation_loss,
        seconds=round(seconds, 3),
        files=tuple(
            describe_file(folder, name) for name in (AUTOENCODER_FILE, ENCODER_FILE, HISTORY_FILE)
        ),
    )
    write_record(folder / RECORD_FILE, record)
    return record


def read_history(record: ModelRecord, root: Path) -> History:
    """The loss of every epoch."""
    return History.model_validate_json((root / record.folder / HISTORY_FILE).read_bytes())
