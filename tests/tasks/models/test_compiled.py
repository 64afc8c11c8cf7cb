import pytest

from tasks.core.backend import keras
from tasks.models.architectures import CODE_LAYER, DEEP, build_autoencoder
from tasks.models.compiled import find_code_layers, find_first_layer
from tasks.models.recipes import Recipe


def test_the_code_layers_are_the_code_and_the_layer_that_takes_it() -> None:
    logits = build_autoencoder(DEEP, (5, 4), Recipe(epochs=1, batch_size=1), seed=0).logits
    assert [layer.name for layer in find_code_layers(logits)] == ["code", "decoder_1"]
    assert find_first_layer(logits).name == "encoder_1"


@pytest.mark.parametrize("following", [0, 1, 2])
def test_a_code_that_cannot_change_its_basis_is_refused(following: int) -> None:
    """No layer after the code, one that is not dense, and two."""
    inputs = keras.Input((20,))
    code = keras.layers.Dense(4, activation="relu", name=CODE_LAYER)(inputs)
    after = [
        [],
        [keras.layers.Activation("relu")],
        [keras.layers.Dense(20, name="a"), keras.layers.Dense(20, name="b")],
    ][following]
    model = keras.Model(inputs, [layer(code) for layer in after] or code)
    with pytest.raises(ValueError, match=r"set whiten=\(\) and unit_variance=False in the recipe"):
        find_code_layers(model)


def test_images_that_no_dense_layer_takes_cannot_be_centred() -> None:
    inputs = keras.Input((20,))
    outputs = keras.layers.Dense(20)(keras.layers.Reshape((20,), name="to_grid")(inputs))
    with pytest.raises(ValueError, match="starts with to_grid, expected one dense layer"):
        find_first_layer(keras.Model(inputs, outputs))
