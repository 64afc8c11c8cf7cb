from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.backend import keras
from tasks.core.records import DatasetRecord
from tasks.encoding.encoder import (
    CACHED_MODELS,
    Reconstructed,
    encode_split,
    load_autoencoder,
    reconstruct_rows,
)
from tasks.images.rows import EVALUATION_ROWS
from tasks.images.store import open_images, open_labels
from tasks.models.architectures import CODE_LAYER, LOGITS_LAYER
from tasks.models.store import ModelRecord


def identity_model(folder: Path) -> Path:
    """An autoencoder of 256 pixels whose code is its input."""
    inputs = keras.Input((256,))
    code = keras.layers.Dense(
        256, activation="relu", kernel_initializer="identity", name=CODE_LAYER
    )(inputs)
    logits = keras.layers.Dense(256, name=LOGITS_LAYER)(code)
    keras.Model(inputs, keras.layers.Activation("sigmoid")(logits)).save(
        folder / "autoencoder.keras"
    )
    return folder


def test_encoding_sees_what_numpy_would_compute(tmp_path: Path, model: ModelRecord) -> None:
    identity_model(tmp_path)
    autoencoder = load_autoencoder(model.model_copy(update={"folder": "."}), tmp_path)
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    (block,) = autoencoder.encode(values, 255.0)
    expected = (values.astype("float32") / np.float32(255)).reshape(1, 256)
    assert block.codes.tobytes() == expected.tobytes()


@pytest.fixture
def encoded(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Reconstructed:
    images = open_images(dataset, "test", root)
    (block,) = load_autoencoder(model, root).reconstruct(images, dataset.scale)
    return block


def assert_close(found: NDArray[np.float32], expected: NDArray[Any]) -> None:
    """Compare sums of 784 float32 products that were added in different orders.

    Each addition rounds by up to 6e-8 of the sum so far, which a unit near zero does not show. So
    the tolerance is relative to the largest value, six times what 784 random roundings add up to.
    """
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_agrees_with_keras(
    encoded: Reconstructed, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    images = np.asarray(open_images(dataset, "test", root)).reshape(128, 784)
    targets = images.astype("float32") / np.float32(255)
    folder = root / model.folder
    encoder = keras.saving.load_model(folder / "encoder.keras")
    autoencoder = keras.saving.load_model(folder / "autoencoder.keras")
    reconstructions = autoencoder.predict(targets, verbose=0).astype(np.float64)
    assert_close(encoded.codes, encoder.predict(targets, verbose=0))
    assert_close(encoded.reconstructions, reconstructions)
    squared = (reconstructions - targets) ** 2
    np.testing.assert_allclose(encoded.mean_squared_errors, squared.mean(axis=1), rtol=1e-4)
    entropies = -targets * np.log(reconstructions) - (1 - targets) * np.log1p(-reconstructions)
    np.testing.assert_allclose(encoded.losses, entropies.mean(axis=1), rtol=1e-4)
    assert encoded.losses.mean() == pytest.approx(model.validation_loss, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it(
    encoded: Reconstructed, model: ModelRecord, dataset: DatasetRecord, root: Path, rows: int
) -> None:
    images = open_images(dataset, "test", root)
    (block,) = load_autoencoder(model, root).reconstruct(images[50 : 50 + rows], dataset.scale)
    for part, whole in zip(block, encoded, strict=True):
        assert part.tobytes() == whole[50 : 50 + rows].tobytes()


def test_encoding_alone_gives_the_same_codes_and_errors(
    encoded: Reconstructed, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    images = open_images(dataset, "test", root)
    (block,) = load_autoencoder(model, root).encode(images, dataset.scale)
    assert_close(block.codes, encoded.codes)
    np.testing.assert_allclose(block.reconstruction_mse, encoded.mean_squared_errors, rtol=1e-4)


def test_writes_every_row_of_a_split_larger_than_a_block(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = EVALUATION_ROWS + 5
    images = np.resize(np.asarray(open_images(dataset, "test", root)), (rows, 28, 28))
    labels = np.resize(np.asarray(open_labels(dataset, "test", root)), rows)
    stand_ins: dict[str, Any] = {
        "open_images": images,
        "open_labels": labels,
        "open_index": np.arange(rows),
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(f"tasks.encoding.encoder.{name}", lambda *_, value=value: value)
    encode_split("test", dataset, [model], root / "test.h5", root)
    with h5py.File(root / "test.h5") as file:
        codes = file["shallow/codes"][...]
        assert len(codes) == rows
        assert np.array_equal(codes[:128], codes[128:256])
        assert np.array_equal(codes[-5:], codes[(rows - 5) % 128 :][:5])


def test_images_of_more_than_a_block_are_all_reconstructed(
    encoded: Reconstructed, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    images = np.resize(open_images(dataset, "test", root), (EVALUATION_ROWS + 5, 28, 28))
    made = reconstruct_rows(load_autoencoder(model, root), images, dataset.scale)
    for column, expected in zip(made, encoded, strict=True):
        assert len(column) == EVALUATION_ROWS + 5
        assert column[-5:].tobytes() == expected[:5].tobytes()


def test_a_model_is_loaded_once_in_a_process(model: ModelRecord, root: Path) -> None:
    with ThreadPoolExecutor(4) as executor:
        loaded = set(executor.map(lambda _: load_autoencoder(model, root), range(8)))
    assert len(loaded) == 1
    copies = [model.model_copy(update={"seconds": float(n)}) for n in range(CACHED_MODELS + 1)]
    others = [load_autoencoder(copy, root) for copy in copies]
    assert load_autoencoder(copies[-1], root) is others[-1]
    assert load_autoencoder(copies[0], root) is not others[0]
