import json
import zipfile
from pathlib import Path

import pytest

from tasks.core.backend import keras
from tasks.models.store import (
    ModelRecord,
    copy_model,
    read_history,
    save_keras_file,
    stored_model,
    weights_sha256,
)


def test_loads_with_plain_keras_in_safe_mode(model: ModelRecord, root: Path) -> None:
    folder = root / model.folder
    autoencoder = keras.saving.load_model(folder / "autoencoder.keras", safe_mode=True)
    encoder = keras.saving.load_model(folder / "encoder.keras", safe_mode=True)
    assert weights_sha256(autoencoder) == model.weights_sha256
    assert weights_sha256(encoder) == model.encoder_weights_sha256
    assert (model.parameters, model.encoder_parameters) == (50_992, 25_120)
    assert autoencoder.output_shape == (None, 784)
    assert encoder.output_shape == (None, 32)


def test_equal_models_are_equal_files(model: ModelRecord, root: Path) -> None:
    """Keras itself writes the time, and addresses in memory of what layers share."""
    stored = root / model.folder / "autoencoder.keras"
    models = [keras.saving.load_model(stored) for _ in range(2)]
    for name, copy in zip(("one", "other"), models, strict=True):
        save_keras_file(copy, root / f"{name}.keras")
    assert (root / "one.keras").read_bytes() == (root / "other.keras").read_bytes()
    with zipfile.ZipFile(root / "one.keras") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json"))["date_saved"] == "1980-01-01@00:00:00"


def test_no_field_is_written_that_keras_3_8_does_not_know(model: ModelRecord, root: Path) -> None:
    with zipfile.ZipFile(root / model.folder / "encoder.keras") as archive:
        assert b"quantization_config" not in archive.read("config.json")
        assert json.loads(archive.read("metadata.json"))["keras_version"] == keras.__version__


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_an_unreadable_record_counts_as_damage(
    model: ModelRecord, root: Path, content: bytes
) -> None:
    (root / model.folder / "model.json").write_bytes(content)
    assert stored_model(root / model.folder) is None


def test_history_holds_every_epoch_and_no_time(model: ModelRecord, root: Path) -> None:
    history = read_history(model, root)
    assert len(history.epochs) == 2
    assert history.epochs[-1].validation_loss == model.validation_loss
    assert "seconds" not in (root / model.folder / "history.json").read_text()


def test_a_copy_has_the_files_of_the_record(model: ModelRecord, root: Path) -> None:
    assert copy_model(model, root / "copy", root) == model
    names = {"model.json", *(file.path for file in model.files)}
    assert {path.name for path in (root / "copy").iterdir()} == names
    for name in names:
        assert (root / "copy" / name).read_bytes() == (root / model.folder / name).read_bytes()


def test_a_model_that_is_no_longer_the_recorded_one_is_not_copied(
    model: ModelRecord, root: Path
) -> None:
    other = model.model_copy(update={"weights_sha256": "0" * 64})
    assert copy_model(other, root / "copy", root) is None
    assert not (root / "copy").exists()
