from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tasks.codes import CodesError, open_published
from tasks.codes.encoder import read_encoder
from tasks.core.records import DatasetRecord
from tasks.encoding.encoder import Autoencoder
from tasks.encoding.export import find_dense_layers, obtain_encoder, write_arrays, write_encoder
from tasks.models.architectures import DenseArchitecture, build_autoencoder
from tasks.models.recipes import Recipe
from tasks.models.store import ModelRecord, weights_sha256
from tests.conftest import EXAMPLE_DATASET, complete, example_model
from tests.convolutional import CONVOLUTIONAL
from tests.tasks.codes.files import write_random_codes

if TYPE_CHECKING:
    from tasks.core.backend import keras

MODEL = example_model()
RECIPE = Recipe(epochs=1, batch_size=1)


def test_an_array_holds_the_codes_and_can_be_mapped(tmp_path: Path) -> None:
    codes, _ = write_random_codes(tmp_path / "codes" / "test.h5", 9000, [1000])  # two chunks
    write_arrays("test", [MODEL], tmp_path)
    path = tmp_path / "codes" / "test-shallow.npy"
    mapped = np.load(path, mmap_mode="r")
    assert mapped.dtype == np.float32
    assert np.array_equal(mapped, codes)
    assert mapped.offset % 64 == 0, "vector instructions want aligned rows"
    assert path.stat().st_size == mapped.offset + codes.nbytes


def test_an_array_that_an_earlier_attempt_left_is_written_anew(tmp_path: Path) -> None:
    write_random_codes(tmp_path / "codes" / "test.h5", 20, [20])
    path = tmp_path / "codes" / "test-shallow.npy"
    write_arrays("test", [MODEL], tmp_path)
    first = path.read_bytes()
    path.write_bytes(b"of other codes")
    write_arrays("test", [MODEL], tmp_path)
    assert path.read_bytes() == first


def export(model: "keras.Model", folder: Path, dataset: DatasetRecord = EXAMPLE_DATASET) -> Path:
    """Write an encoder that was never trained."""
    record = MODEL.model_copy(update={"encoder_weights_sha256": weights_sha256(model)})
    path = folder / "models" / "shallow" / "encoder.h5"
    write_encoder(path, model, record, dataset)
    return path


@pytest.mark.parametrize("shape", [(28, 28), (9, 5, 3)])
@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "silu", "tanh"])
def test_numpy_computes_what_the_trained_model_gives(
    activation: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    architecture = DenseArchitecture(name="a", hidden=(128, 64), activation=activation)
    models = build_autoencoder(architecture, shape, RECIPE, seed=1)
    generator = np.random.default_rng(0)
    for weight in models.autoencoder.weights:
        if len(weight.shape) == 1:  # biases begin at zero
            weight.assign(generator.normal(0, 0.3, weight.shape))
    images = generator.integers(0, 256, (300, *shape), np.uint8)
    blocks = Autoencoder(models.autoencoder).encode(images, 255.0)
    expected = np.concatenate([block.codes for block in blocks])
    dataset = EXAMPLE_DATASET.model_copy(update={"image_shape": shape})
    found = read_encoder(export(models.encoder, tmp_path, dataset))(images)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_bytes_are_a_function_of_the_encoder(tmp_path: Path) -> None:
    encoder = build_autoencoder(MODEL.spec.architecture, (28, 28), RECIPE, seed=1).encoder
    first, second = (export(encoder, tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_an_anchored_encoder_names_the_basis_that_it_keeps(tmp_path: Path) -> None:
    encoder = build_autoencoder(MODEL.spec.architecture, (28, 28), RECIPE, seed=1).encoder
    update = {"encoder_weights_sha256": weights_sha256(encoder), "basis": "b" * 64}
    path = tmp_path / "encoder.h5"
    write_encoder(path, encoder, MODEL.model_copy(update=update), EXAMPLE_DATASET)
    assert read_encoder(path).basis == "b" * 64
    assert read_encoder(path).encoder_weights_sha256 == weights_sha256(encoder)


def test_what_numpy_cannot_compute_is_named(tmp_path: Path) -> None:
    encoder = build_autoencoder(CONVOLUTIONAL, (28, 28), RECIPE, seed=1).encoder
    path = export(encoder, tmp_path)
    expected = (
        "NumPy cannot compute the encoder of the shallow model: its layer reshape.* is Reshape, "
        r"not Dense\. Use .*models/shallow/encoder\.keras with Keras"
    )
    with pytest.raises(CodesError, match=expected) as refusal:
        read_encoder(path)
    assert "\n" not in str(refusal.value)


def test_dense_layers_that_are_no_chain_are_named() -> None:
    from tasks.core.backend import keras

    image = keras.Input((4,))
    dense = keras.layers.Dense
    first = dense(4, name="first")(image)
    second = dense(4, name="second")(image)
    with pytest.raises(ValueError, match="layer second has no bias or is not in a chain"):
        find_dense_layers(keras.Model(image, [first, second]))
    with pytest.raises(ValueError, match="layer third has no bias"):
        find_dense_layers(keras.Model(image, dense(4, use_bias=False, name="third")(image)))
    with pytest.raises(ValueError, match="layer fourth has the activation softplus"):
        find_dense_layers(keras.Model(image, dense(4, "softplus", name="fourth")(image)))


def test_only_an_encoder_of_other_weights_is_written_anew(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    folder = open_published(dataset.name, root).folder
    path = folder / "models" / "shallow" / "encoder.h5"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    obtain_encoder(model, dataset, folder, root)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(content[:-1])
    obtain_encoder(model, dataset, folder, root)
    assert path.read_bytes() == content
    export(build_autoencoder(model.spec.architecture, (28, 28), RECIPE, seed=1).encoder, folder)
    assert path.read_bytes() != content
    obtain_encoder(model, dataset, folder, root)
    assert path.read_bytes() == content
