from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.core.backend import keras
from tasks.models.architectures import (
    DEEP,
    SHALLOW,
    WIDE,
    Architecture,
    Autoencoder,
    DenseArchitecture,
    UnknownArchitecture,
    WideArchitecture,
    build_autoencoder,
)
from tasks.models.recipes import Recipe
from tasks.models.spec import TrainingSpec

SMALL = (5, 4)
RECIPE = Recipe(epochs=1, batch_size=1)


def build(architecture: Architecture, seed: int = 0, **settings: Any) -> Autoencoder:
    """The graph for images of 20 pixels."""
    recipe = RECIPE.model_copy(update=settings)
    return build_autoencoder(architecture, SMALL, recipe, seed)


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
    models = build_autoencoder(architecture, (28, 28), RECIPE, seed=0)
    assert architecture.describe((28, 28)) == layers
    assert models.autoencoder.count_params() == parameters
    assert models.encoder.count_params() == encoder_parameters


def test_colours_are_pixels_too() -> None:
    assert SHALLOW.describe((4, 5, 3)) == "60-32-60"
    models = build_autoencoder(SHALLOW, (4, 5, 3), RECIPE, seed=0)
    assert models.autoencoder.input_shape == models.autoencoder.output_shape == (None, 60)


def test_activations_are_relu_inside_and_sigmoid_at_the_end() -> None:
    models = build(DEEP)
    dense = [layer for layer in models.autoencoder.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.activation.__name__ for layer in dense] == ["relu"] * 5 + ["linear"]
    logits = models.logits(np.ones((3, 20), np.float32))
    reconstruction = models.autoencoder(np.ones((3, 20), np.float32))
    np.testing.assert_allclose(reconstruction, 1 / (1 + np.exp(-np.asarray(logits))), rtol=1e-5)


def test_the_three_models_share_their_layers() -> None:
    models = build(DEEP)
    for model in (models.encoder, models.logits):
        for layer in model.layers:
            assert layer is models.autoencoder.get_layer(layer.name)


@pytest.mark.parametrize("kernels", ["GlorotUniform", "Orthogonal"])
def test_weights_are_a_function_of_the_seed(kernels: str) -> None:
    one, same, other = (
        build(DEEP, seed, kernels=kernels).autoencoder.get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    kernels_differ = [
        not np.array_equal(a, b) for a, b in zip(one, other, strict=True) if a.ndim == 2
    ]
    assert all(kernels_differ)
    assert not np.array_equal(one[4], one[6].T), "layers must not share a seed"


def test_only_the_code_layer_starts_with_a_bias() -> None:
    models = build(DEEP, code_bias=0.5)
    biases = {layer.name: layer.get_weights()[1] for layer in models.logits.layers[1:]}
    assert np.all(biases.pop("code") == 0.5)
    assert all(np.all(bias == 0) for bias in biases.values())


class WrongCode(DenseArchitecture):
    """A variant whose code has one unit too many."""

    def connect(self, *arguments: Any) -> Any:
        return self.model_copy(update={"code_size": self.code_size + 1})._connect(*arguments)

    def _connect(self, *arguments: Any) -> Any:
        return DenseArchitecture.connect(self, *arguments)


def test_a_graph_that_is_not_as_promised_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x model has code and logits .*33.*expected .*32"):
        build(WrongCode(name="x", hidden=()))


@pytest.mark.parametrize("architecture", [SHALLOW, WIDE], ids=lambda a: a.name)
def test_a_stored_spec_is_read_as_what_it_was(architecture: Architecture) -> None:
    spec = TrainingSpec(architecture=architecture, recipe=RECIPE, seed=1)
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec
    assert f'"kind":"{architecture.kind}"' in spec.model_dump_json()


def read(architecture: dict[str, Any]) -> Architecture:
    """The architecture of a stored spec."""
    stored = {"architecture": architecture, "recipe": RECIPE.model_dump(), "seed": 0}
    return TrainingSpec.model_validate(stored).architecture


def test_a_spec_of_version_0_1_has_no_kind_and_is_dense() -> None:
    stored = {"name": "deep", "hidden": [128, 64], "activation": "relu", "centred": False}
    assert read(stored) == DEEP


def test_an_unknown_kind_can_be_read_and_stored_but_not_built() -> None:
    stored = {"kind": "gone", "name": "x", "code_size": 4, "blocks": [1, 2]}
    architecture = read(stored)
    assert isinstance(architecture, UnknownArchitecture)
    assert architecture.model_dump() == stored
    with pytest.raises(TypeError, match="No subclass of Architecture has kind='gone'"):
        build(architecture)


def test_a_wrong_field_is_named() -> None:
    with pytest.raises(ValidationError, match=r"architecture\.code_size"):
        read({"name": "x", "hidden": [], "code_size": 0})


def test_a_variant_with_the_kind_of_another_is_not_registered() -> None:
    assert Architecture.kinds["dense"] is DenseArchitecture
    assert Architecture.kinds["wide"] is WideArchitecture
