from pathlib import Path

import pytest

from tasks.core.backend import keras
from tasks.models.store import ModelRecord, copy_model, read_history, stored_model, weights_sha256


def test_loads_with_plain_keras_in_safe_mode(model: ModelRecord, root: Path) -> None:
    folder = root / model.folder
    autoencoder = keras.saving.load_model(folder / "autoencoder.keras", safe_mode=True)
    encoder = keras.saving.load_model(folder / "encoder.keras", safe_mode=True)
    assert weights_sha256(autoencoder) == model.weights_sha256
    assert weights_sha256(encoder) == model.encoder_weights_sha256
    assert (model.parameters, model.encoder_parameters) == (50_992, 25_120)
    assert autoencoder.output_shape == (None, 784)
    assert encoder.output_shape == (None, 32)


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
