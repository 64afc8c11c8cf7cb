"""The autoencoders as data, and the Keras graphs made from them.

Knows neither Prefect nor the disk.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from tasks.records import Record

if TYPE_CHECKING:
    import keras

CODE_LAYER = "code"
LOGITS_LAYER = "logits"


class Architecture(Record):
    """A dense autoencoder, mirrored about its code: pixels-hidden-code-hidden reversed-pixels."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    hidden: tuple[int, ...] = Field(description="units of the encoder's hidden layers")
    code_size: int = Field(default=32, ge=1)

    def layer_sizes(self, pixels: int) -> list[int]:
        """Units of every layer, input and output included."""
        return [pixels, *self.hidden, self.code_size, *reversed(self.hidden), pixels]

    def describe(self, pixels: int) -> str:
        """The layer sizes joined by hyphens, as in `784-128-64-32-64-128-784`."""
        return "-".join(map(str, self.layer_sizes(pixels)))


SHALLOW = Architecture(name="shallow", hidden=())
DEEP = Architecture(name="deep", hidden=(128, 64))


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
) -> Autoencoder:
    """Build the graph; every layer's first kernel has a seed of its own.

    Args:
        pixels: values of one image, height x width.
        seed: the weights are a function of it and of the architecture.
        kernels: name of a class of `keras.initializers`.
        code_bias: initial bias of the code layer; all other biases start at zero.

    Source: Keras functional API; https://keras.io/guides/functional_api/
    """
    import keras  # here, because the specs above are needed before TensorFlow is there

    sizes = architecture.layer_sizes(pixels)
    depth = len(architecture.hidden) + 1
    names = [*(f"encoder_{i}" for i in range(1, depth)), CODE_LAYER]
    names += [*(f"decoder_{i}" for i in range(1, depth)), LOGITS_LAYER]
    initializer = getattr(keras.initializers, kernels)
    seeds = np.random.SeedSequence(seed).generate_state(len(names))

    inputs = keras.Input((pixels,), name="image")
    outputs = [inputs]
    for name, units, layer_seed in zip(names, sizes[1:], seeds, strict=True):
        layer = keras.layers.Dense(
            units,
            activation=None if name == LOGITS_LAYER else "relu",
            kernel_initializer=initializer(seed=int(layer_seed)),
            bias_initializer=keras.initializers.Constant(code_bias if name == CODE_LAYER else 0.0),
            name=name,
        )
        outputs.append(layer(outputs[-1]))
    logits = outputs[-1]
    reconstruction = keras.layers.Activation("sigmoid", name="reconstruction")(logits)

    prefix = architecture.name
    return Autoencoder(
        autoencoder=keras.Model(inputs, reconstruction, name=f"{prefix}_autoencoder"),
        encoder=keras.Model(inputs, outputs[depth], name=f"{prefix}_encoder"),
        logits=keras.Model(inputs, logits, name=f"{prefix}_logits"),
    )


def summarize(model: "keras.Model") -> str:
    """The table of layers and parameter counts that `Model.summary` prints."""
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=80)
    return "\n".join(lines)
