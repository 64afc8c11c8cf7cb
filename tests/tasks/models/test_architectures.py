import numpy as np
import pytest

from tasks.core.backend import keras
from tasks.models.architectures import (
    DEEP,
    SHALLOW,
    WIDE,
    Architecture,
    build_autoencoder,
    summarize,
)


@pytest.mark.parametrize(
    ("architecture", "layers", "parameters", "encoder_parameters"),
    [
        (SHALLOW, "784-32-784", 50_992, 25_120),
        (DEEP, "784-128-64-32-64-128-784", 222_384, 110_816),
    ],
)
def test_has_the_lab_s_layers_and_parameters(
    architecture: Architecture, layers: str, parameters: int, encoder_parameters: int
) -> None:
    models = build_autoencoder(architecture, pixels=784, seed=0)
    assert architecture.describe(784) == layers
    assert models.autoencoder.count_params() == parameters
    assert models.encoder.count_params() == encoder_parameters
    assert f"{parameters:,}" in summarize(models.autoencoder)


def test_activations_are_relu_inside_and_sigmoid_at_the_end() -> None:
    models = build_autoencoder(DEEP, pixels=20, seed=0)
    dense = [layer for layer in models.autoencoder.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.activation.__name__ for layer in dense] == ["relu"] * 5 + ["linear"]
    logits = models.logits(np.ones((3, 20), np.float32))
    reconstruction = models.autoencoder(np.ones((3, 20), np.float32))
    assert np.allclose(reconstruction, 1 / (1 + np.exp(-np.asarray(logits))), atol=1e-6)


def test_the_three_models_share_their_layers() -> None:
    models = build_autoencoder(DEEP, pixels=20, seed=0)
    for model in (models.encoder, models.logits):
        for layer in model.layers:
            assert layer is models.autoencoder.get_layer(layer.name)


@pytest.mark.parametrize("kernels", ["GlorotUniform", "Orthogonal"])
def test_weights_are_a_function_of_the_seed(kernels: str) -> None:
    one, same, other = (
        build_autoencoder(DEEP, 20, seed, kernels).autoencoder.get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    kernels_differ = [
        not np.array_equal(a, b) for a, b in zip(one, other, strict=True) if a.ndim == 2
    ]
    assert all(kernels_differ)
    assert not np.array_equal(one[4], one[6].T), "layers must not share a seed"


def test_only_the_code_layer_starts_with_a_bias() -> None:
    models = build_autoencoder(DEEP, 20, seed=0, code_bias=0.5)
    biases = {layer.name: layer.get_weights()[1] for layer in models.logits.layers[1:]}
    assert np.all(biases.pop("code") == 0.5)
    assert all(np.all(bias == 0) for bias in biases.values())


def test_a_centred_architecture_subtracts_the_mean_pixel() -> None:
    models = build_autoencoder(WIDE, 20, seed=0, code_bias=0.5, centre=0.25)
    codes = models.encoder(np.full((1, 20), 0.25, np.float32))
    assert np.allclose(codes, 0.5), "a grey image gives a layer nothing but its bias"
    names = [layer.name for layer in models.autoencoder.layers]
    assert names[:2] == ["image", "centred_image"]
    assert models.autoencoder.get_layer("encoder_1").activation.__name__ == "gelu"
    assert models.encoder.get_layer("code").activation.__name__ == "relu"
