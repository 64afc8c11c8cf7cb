import os
import subprocess
import sys

import pytest

from tasks.core.backend import keras
from tasks.models.architectures import CODE_LAYER, DEEP, build_autoencoder
from tasks.models.compiled import find_code_layers, find_first_layer
from tasks.models.recipes import Recipe

COMPUTE = """
from tasks.core.backend import tf
print(tf.function(lambda x: x * 2.0, jit_compile=True)(tf.constant(3.0)).numpy())
"""


def compute(flags: str) -> subprocess.CompletedProcess[str]:
    """Run a compiled function in a process: XLA reads its flags once."""
    return subprocess.run(
        [sys.executable, "-c", COMPUTE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AUTOENCODER_XLA_FLAGS": flags, "XLA_FLAGS": "--not_ours"},
    )


def test_our_xla_flags_are_accepted_and_the_user_s_own_ignored() -> None:
    done = compute("--xla_cpu_max_isa=AVX")
    assert (done.returncode, done.stdout) == (0, "6.0\n"), done.stderr


def test_an_unknown_xla_flag_is_refused() -> None:
    done = compute("--xla_no_such_flag=1")
    assert done.returncode != 0
    assert "xla_no_such_flag" in done.stderr


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
