"""The autoencoders as data, and the Keras graphs made from them.

Knows neither Prefect nor the disk.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from tasks.core.records import Record

if TYPE_CHECKING:
    from tasks.core.backend import keras

CODE_LAYER = "code"
LOGITS_LAYER = "logits"
MAX_CODE_SIZE = 256
"""Units of the largest code; PCA is computed with as many components."""
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]
"""Of the hidden layers."""


class Architecture(Record):
    """A dense autoencoder, mirrored about its code: pixels-hidden-code-hidden reversed-pixels."""

    name: str = Field(pattern=NAME_PATTERN)
    hidden: tuple[int, ...] = Field(description="units of the encoder's hidden layers")
    activation: Activation = "relu"
    centred: bool = Field(
        False, description="the mean pixel of the training images is subtracted from the input"
    )
    code_size: int = Field(default=32, ge=1, le=MAX_CODE_SIZE)

    def layer_sizes(self, pixels: int) -> list[int]:
        """Units of every layer, input and output included."""
        return [pixels, *self.hidden, self.code_size, *reversed(self.hidden), pixels]

    def describe(self, pixels: int) -> str:
        """The layer sizes joined by hyphens, as in `784-128-64-32-64-128-784`."""
        return "-".join(map(str, self.layer_sizes(pixels)))


SHALLOW = Architecture(name="shallow", hidden=())
DEEP = Architecture(name="deep", hidden=(128, 64))
WIDE = Architecture(name="wide", hidden=(512,), activation="gelu", centred=True)
BUILT_IN = (SHALLOW, DEEP, WIDE)


class Autoencoder(NamedTuple):
    """Three views of one graph; they share their layers, so training one trains all."""

    autoencoder: "keras.Model"
    """(N, pixels) float32 in 0..1 -> reconstruction, same shape, in 0..1."""
    encoder: "keras.Model"
    """(N, pixels) float32 -> code, (N, code_size) float32, not negative."""
    logits: "keras.Model"
    """(N, pixels) float32 -> the reconstruction before its sigmoid; what training works on."""


def build_autoencoder(
    architecture: Architecture,
    pixels: int,
    seed: int,
    kernels: str = "GlorotUniform",
    code_bias: float = 0.0,
    centre: float = 0.0,
) -> Autoencoder:
    """Build the graph; every layer's first kernel has a seed of its own.

    Args:
        pixels: values of one image, height x width.
        seed: the weights are a function of it and of the architecture.
        kernels: name of a class of `keras.initializers`.
        code_bias: initial bias of the code layer; all other biases start at zero.
        centre: subtracted from the input of a centred architecture.

    Source: Keras functional API; https://keras.io/guides/functional_api/
    """
    from tasks.core.backend import keras

    inputs = keras.Input((pixels,), name="image")
    output = inputs
    if architecture.centred:
        output = keras.layers.Rescaling(1.0, -centre, name="centred_image")(inputs)
    outputs = {}
    for layer in _dense_layers(architecture, pixels, seed, kernels, code_bias):
        output = outputs[layer.name] = layer(output)
    logits = outputs[LOGITS_LAYER]
    reconstruction = keras.layers.Activation("sigmoid", name="reconstruction")(logits)

    prefix = architecture.name
    return Autoencoder(
        autoencoder=keras.Model(inputs, reconstruction, name=f"{prefix}_autoencoder"),
        encoder=keras.Model(inputs, outputs[CODE_LAYER], name=f"{prefix}_encoder"),
        logits=keras.Model(inputs, logits, name=f"{prefix}_logits"),
    )


def _dense_layers(
    architecture: Architecture, pixels: int, seed: int, kernels: str, code_bias: float
) -> Iterator["keras.layers.Dense"]:
    """The layers from the first hidden one to the logits."""
    from tasks.core.backend import keras

    depth = len(architecture.hidden) + 1
    names = [*(f"encoder_{i}" for i in range(1, depth)), CODE_LAYER]
    names += [*(f"decoder_{i}" for i in range(1, depth)), LOGITS_LAYER]
    activations = {CODE_LAYER: "relu", LOGITS_LAYER: None}  # a code is never negative
    initializer = getattr(keras.initializers, kernels)
    seeds = np.random.SeedSequence(seed).generate_state(len(names))
    for name, units, layer_seed in zip(
        names, architecture.layer_sizes(pixels)[1:], seeds, strict=True
    ):
        yield keras.layers.Dense(
            units,
            activation=activations.get(name, architecture.activation),
            kernel_initializer=initializer(seed=int(layer_seed)),
            bias_initializer=keras.initializers.Constant(code_bias if name == CODE_LAYER else 0.0),
            name=name,
        )


def summarize(model: "keras.Model") -> str:
    """The table of layers and parameter counts that `Model.summary` prints."""
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=80)
    return "\n".join(lines)
