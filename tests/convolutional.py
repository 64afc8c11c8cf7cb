"""A convolutional architecture, added here alone.

What had to be written: `ConvolutionalArchitecture` and its entry in the registry. Flags, form,
recipe, fingerprint, checkpoints, codes, figures and report follow. In the project the entry stands
in `BUILT_IN`; here `python -m tests.convolutional` adds it and does twice what
`python -m flows.retrain` does.
"""

import math
import sys
from typing import TYPE_CHECKING

import numpy as np

from tasks.models import architectures
from tasks.models.architectures import CODE_LAYER, LOGITS_LAYER, Architecture, BuiltIn
from tasks.models.recipes import Recipe

if TYPE_CHECKING:
    from tasks.core.backend import keras


class ConvolutionalArchitecture(Architecture):
    """One convolution, a dense code, and a decoder with one transposed convolution."""

    kind: str = "convolutional"
    filters: int = 4

    def describe(self, image_shape: tuple[int, ...]) -> str:
        pixels = math.prod(image_shape)
        return f"{pixels}-conv{self.filters}-{self.code_size}-conv{self.filters}-{pixels}"

    def connect(
        self, image: "keras.KerasTensor", image_shape: tuple[int, ...], recipe: Recipe, seed: int
    ) -> "keras.KerasTensor":
        from tasks.core.backend import keras

        height, width, *colours = image_shape
        channels = colours[0] if colours else 1
        seeds = iter(np.random.SeedSequence(seed).generate_state(4))

        def kernels() -> keras.Initializer:
            return getattr(keras.initializers, recipe.kernels)(seed=int(next(seeds)))

        layers = [
            keras.layers.Reshape((height, width, channels)),
            keras.layers.Conv2D(
                self.filters, 3, 2, "same", activation="relu", kernel_initializer=kernels()
            ),
            keras.layers.Flatten(),
            keras.layers.Dense(
                self.code_size,
                activation="relu",
                kernel_initializer=kernels(),
                bias_initializer=keras.initializers.Constant(recipe.code_bias),
                name=CODE_LAYER,
            ),
            keras.layers.Dense(
                height // 2 * (width // 2) * self.filters,
                activation="relu",
                kernel_initializer=kernels(),
            ),
            keras.layers.Reshape((height // 2, width // 2, self.filters)),
            keras.layers.Conv2DTranspose(channels, 3, 2, "same", kernel_initializer=kernels()),
            keras.layers.Flatten(name=LOGITS_LAYER),
        ]
        for layer in layers:
            image = layer(image)
        return image


CONVOLUTIONAL = ConvolutionalArchitecture(name="conv")

if __name__ == "__main__":
    architectures.BUILT_IN += (BuiltIn(CONVOLUTIONAL, epochs=30, optional="it sees neighbours"),)

    from flows.retrain import main

    sys.exit(max(main(sys.argv[1:]) for _ in range(2)))
