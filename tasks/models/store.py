"""Trained models in the artifacts folder: `models/<fingerprint>/`."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.core.locks import lock
from tasks.core.records import DatasetRecord, DeviceKind, EpochRecord, FileRecord, Record, Sha256
from tasks.core.storage import (
    atomic_file,
    copy_file,
    describe_file,
    read_intact,
    write_bytes,
    write_record,
)
from tasks.models.fingerprint import Facts, digest_of
from tasks.models.spec import TrainingSpec

if TYPE_CHECKING:
    from tasks.core.backend import keras
    from tasks.models.training import Training

AUTOENCODER_FILE = "autoencoder.keras"
ENCODER_FILE = "encoder.keras"
HISTORY_FILE = "history.json"
ANCHOR_FILE = "anchor.keras"
"""The anchor's encoder, beside those of an anchored model."""
RECORD_FILE = "model.json"
NO_TIME = "1980-01-01@00:00:00"
"""In place of the time at which a file was saved; the format asks for one."""
FACTS_FILE = "fingerprint.json"
"""What the fingerprint was computed from; only read to tell why a model is trained again."""


class History(Record):
    """The losses of a training; holds no clock times, so equal trainings leave equal bytes."""

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
    basis: Sha256 | None = Field(
        None,
        description="weights of the encoder that defined the code's coordinate system: its own, or "
        "those of its anchor; null in records of earlier versions",
    )
    loss: float
    validation_loss: float
    seconds: float = Field(description="of training, compilation included")
    files: tuple[FileRecord, ...]


def model_lock(fingerprint: Sha256) -> str:
    """The name of the lock that covers a model's folder."""
    return f"model-{fingerprint[:16]}"


def weights_sha256(model: "keras.Model") -> Sha256:
    """SHA-256 of a model's weights: of each, in Keras's order, its type, shape and values."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.dtype.str}{weight.shape}".encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()


def store_model(
    training: "Training",
    dataset: DatasetRecord,
    facts: Facts,
    device: DeviceKind,
    seconds: float,
    root: Path,
    anchor: Path | None = None,
) -> ModelRecord:
    """Write the files of a finished training; the record, which makes them count, comes last.

    Args:
        anchor: the file of the anchor's encoder, which is copied.
    """
    autoencoder, encoder, _ = training.models
    fingerprint = digest_of(facts)
    folder = root / "models" / fingerprint
    names = _write_files(training, facts, folder, anchor)
    history = training.history
    spec, architecture = training.spec, training.spec.architecture
    record = ModelRecord(
        name=architecture.name,
        fingerprint=fingerprint,
        folder=f"models/{fingerprint}",
        layers=architecture.describe(dataset.image_shape),
        spec=spec,
        device=device,
        dataset_payload_sha256=dataset.payload_sha256,
        parameters=autoencoder.count_params(),
        encoder_parameters=encoder.count_params(),
        weights_sha256=weights_sha256(autoencoder),
        encoder_weights_sha256=(own_basis := weights_sha256(encoder)),
        basis=spec.anchor.basis if spec.anchor else own_basis,
        loss=history[-1].loss,
        validation_loss=history[-1].validation_loss,
        seconds=round(seconds, 3),
        files=tuple(describe_file(folder, name) for name in names),
    )
    write_record(folder / RECORD_FILE, record)
    return record


def _write_files(
    training: "Training", facts: Facts, folder: Path, anchor: Path | None
) -> list[str]:
    """Write all files but the record; return the names of those that it lists."""
    autoencoder, encoder, _ = training.models
    for name, model in ((AUTOENCODER_FILE, autoencoder), (ENCODER_FILE, encoder)):
        with atomic_file(folder / name) as partial:
            save_keras_file(model, partial)
    names = [AUTOENCODER_FILE, ENCODER_FILE, HISTORY_FILE]
    if anchor and training.spec.anchor:
        names.append(ANCHOR_FILE)
        copy_file(anchor, folder / ANCHOR_FILE)
    write_record(folder / HISTORY_FILE, History(epochs=training.history))
    write_bytes(folder / FACTS_FILE, json.dumps(facts, indent=2, sort_keys=True).encode())
    return names


def save_keras_file(model: "keras.Model", path: Path) -> None:
    """Save a model as a `.keras` file: of equal models the same bytes, which Keras 3.8 reads too.

    Keras writes the time, addresses in memory as numbers of shared objects, and a field for
    quantization, of which it has none here, that versions before 3.13 do not know.
    """
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(contents["metadata.json"])
    metadata["date_saved"] = NO_TIME
    contents["metadata.json"] = json.dumps(metadata).encode()
    config = _reproducible(json.loads(contents["config.json"]), {})
    contents["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # which is from 1980


def _reproducible(config: Any, numbers: dict[int, int]) -> Any:
    """A part of Keras's configuration; shared objects are numbered in the order of the file."""
    if isinstance(config, list):
        return [_reproducible(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    kept = {}
    for name, value in config.items():
        if name == "shared_object_id":
            kept[name] = numbers.setdefault(value, len(numbers) + 1)
        elif name != "quantization_config" or value is not None:
            kept[name] = _reproducible(value, numbers)
    return kept


def stored_model(folder: Path) -> ModelRecord | None:
    """The model in a folder, if it is complete and every file has the recorded SHA-256."""
    return read_intact(folder / RECORD_FILE, ModelRecord, lambda record: record.files)


def copy_model(record: ModelRecord, target: Path, root: Path) -> ModelRecord | None:
    """Copy the files of a model with these weights; return its record, or none if there is none.

    Another run may have trained it again meanwhile, to the same weights in other files.
    """
    source = root / record.folder
    with lock(model_lock(record.fingerprint), root):
        stored = stored_model(source)
        if stored is None or stored.weights_sha256 != record.weights_sha256:
            return None
        target.mkdir(parents=True, exist_ok=True)
        for name in (RECORD_FILE, *(file.path for file in stored.files)):
            shutil.copyfile(source / name, target / name)
    return stored


def basis_file(model: ModelRecord) -> str:
    """The file, in a model's folder, with the encoder that defined the model's basis."""
    return ANCHOR_FILE if model.spec.anchor else ENCODER_FILE


def read_history(record: ModelRecord, root: Path) -> History:
    """The loss of every epoch."""
    return History.model_validate_json((root / record.folder / HISTORY_FILE).read_bytes())
