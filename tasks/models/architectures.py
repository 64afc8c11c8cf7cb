"""The architectures: the interface, today's, and the registry that form, flags and help follow.

To add one, subclass `Architecture` with a `kind` of its own and add an entry to `BUILT_IN`; nothing
else has to change. tests/convolutional.py does it with a convolutional one. A field that is added
later needs a default, which must never change (`tasks.models.fingerprint`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny

from tasks.core.records import Record
from tasks.models.recipes import Recipe

if TYPE_CHECKING:
    from tasks.core.backend import keras

CODE_LAYER = "code"
LOGITS_LAYER = "logits"
MAX_CODE_SIZE = 256
"""Units of the largest code; PCA is computed with as many components."""
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
Activation = Literal["relu", "elu", "gelu", "silu", "tanh"]


class Architecture(Record, ABC):
    """An autoencoder; each kind has more fields."""

    # Stored ones have the fields of the subclass too; those of version 0.1 have no kind.
    model_config = ConfigDict(json_schema_extra={"required": ["name"]})
    kinds: ClassVar[dict[str, type["Architecture"]]] = {}

    kind: str = Field(description="dense, wide, ...; one for each subclass")
    name: str = Field(pattern=NAME_PATTERN)
    code_size: int = Field(default=32, ge=1)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register the subclass, unless it is a variant of another with the same kind."""
        super().__pydantic_init_subclass__(**kwargs)
        if "kind" in cls.__annotations__:
            Architecture.kinds[cls.model_fields["kind"].default] = cls

    @abstractmethod
    def describe(self, image_shape: tuple[int, ...]) -> str:
        """The layers in a few characters, as in `784-128-64-32-64-128-784`.

        Args:
            image_shape: height, width and, in colour, 3.
        """

    @abstractmethod
    def connect(
        self, image: "keras.KerasTensor", image_shape: tuple[int, ...], recipe: Recipe, seed: int
    ) -> "keras.KerasTensor":
        """Connect the layers from the image to the logits.

        The layer named `CODE_LAYER` gives the code, (N, code_size) float32, not negative. The layer
        named `LOGITS_LAYER` gives the reconstruction before its sigmoid, (N, pixels) float32.

        Args:
            image: (N, pixels) float32 in 0..1; in training less the mean image, if the recipe says.
            image_shape: height, width and, in colour, 3; the axes that `pixels` flattens.
            recipe: tells how the weights start: `kernels`, `code_bias`.
            seed: the first weights must be a function of it. Initializers must not share a seed.

        Returns:
            The logits.
        """

    def adapt(self, recipe: Recipe) -> Recipe:
        """The default recipe, changed where something else serves this architecture better.

        `whiten` and `unit_variance` need a dense code layer with ReLU and, as the only layer that
        takes the code, another dense layer. `centred`, which is off by default, needs a dense
        layer as the only one that takes the image.
        """
        return recipe


class DenseArchitecture(Architecture):
    """Dense layers, mirrored about the code: pixels-hidden-code-hidden reversed-pixels."""

    kind: str = "dense"
    hidden: tuple[int, ...] = Field(description="units of the encoder's hidden layers")
    activation: Activation = Field("relu", description="of the hidden layers")

    def layer_sizes(self, image_shape: tuple[int, ...]) -> list[int]:
        """Units of every layer, input and output included."""
        pixels = math.prod(image_shape)
        return [pixels, *self.hidden, self.code_size, *reversed(self.hidden), pixels]

    def describe(self, image_shape: tuple[int, ...]) -> str:  # noqa: D102 - as above
        return "-".join(map(str, self.layer_sizes(image_shape)))

    def connect(  # noqa: D102
        self, image: "keras.KerasTensor", image_shape: tuple[int, ...], recipe: Recipe, seed: int
    ) -> "keras.KerasTensor":
        from tasks.core.backend import keras

        depth = len(self.hidden) + 1
        names = [*(f"encoder_{i}" for i in range(1, depth)), CODE_LAYER]
        names += [*(f"decoder_{i}" for i in range(1, depth)), LOGITS_LAYER]
        activations = {CODE_LAYER: "relu", LOGITS_LAYER: None}
        initializer = getattr(keras.initializers, recipe.kernels)
        seeds = np.random.SeedSequence(seed).generate_state(len(names))
        sizes = self.layer_sizes(image_shape)[1:]
        for name, units, layer_seed in zip(names, sizes, seeds, strict=True):
            bias = recipe.code_bias if name == CODE_LAYER else 0.0
            image = keras.layers.Dense(
                units,
                activation=activations.get(name, self.activation),
                kernel_initializer=initializer(seed=int(layer_seed)),
                bias_initializer=keras.initializers.Constant(bias),
                name=name,
            )(image)
        return image

    def adapt(self, recipe: Recipe) -> Recipe:
        """Without hidden layers, only the code's ReLU is not linear, and whitening costs loss.

        Centring, SOAP and weight decay have no use there either. See docs/training.md.
        """
        if self.hidden:
            return recipe.model_copy(update={"centred": True})
        linear = {
            "optimizer": "adam",
            "peak_learning_rate": 8e-3,
            "weight_decay": 0.0,
            "whiten": (),
        }
        return recipe.model_copy(update=linear)


class WideArchitecture(DenseArchitecture):
    """A dense autoencoder with settings for a first layer of some 512 units."""

    kind: str = "wide"

    def adapt(self, recipe: Recipe) -> Recipe:
        """Found by trial, see docs/training.md."""
        update = {"max_side": 512, "basis_steps": 235, "shifted": 0.25}
        return super().adapt(recipe).model_copy(update=update)


class UnknownArchitecture(Architecture, extra="allow"):
    """One whose subclass is gone or not imported: its records can be read, nothing built."""

    def describe(self, image_shape: tuple[int, ...]) -> str:  # noqa: ARG002, D102
        return self.kind

    def connect(self, *_: Any) -> "keras.KerasTensor":  # noqa: D102
        raise TypeError(f"No subclass of Architecture has kind={self.kind!r}: import its module")


def _read_architecture(value: Any) -> Any:
    """Choose the subclass; records of version 0.1 name no kind and are dense."""
    if not isinstance(value, Mapping):
        return value
    value = {"kind": DenseArchitecture.model_fields["kind"].default, **value}
    return Architecture.kinds.get(value["kind"], UnknownArchitecture).model_validate(value)


AnyArchitecture = Annotated[SerializeAsAny[Architecture], BeforeValidator(_read_architecture)]
"""An architecture as a field of a record: stored with all fields of its subclass."""


class BuiltIn(NamedTuple):
    """An architecture that people choose by its name."""

    architecture: Architecture
    epochs: int
    """Passes over the training images, unless others are chosen."""
    optional: str | None = None
    """Why to train it, for form and help; None: it is trained without being asked for."""


SHALLOW = DenseArchitecture(name="shallow", hidden=())
DEEP = DenseArchitecture(name="deep", hidden=(128, 64))
WIDE = WideArchitecture(name="wide", hidden=(512, 256), activation="gelu")
BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn(SHALLOW, epochs=20),
    BuiltIn(DEEP, epochs=50),
    BuiltIn(WIDE, epochs=25, optional="lower loss, about four minutes"),
)
"""In the order of training."""


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
    image_shape: tuple[int, ...],
    recipe: Recipe,
    seed: int,
) -> Autoencoder:
    """Build the graph with its first weights, which are a function of the arguments.

    Args:
        image_shape: height, width and, in colour, 3.

    Raises:
        ValueError: code or logits do not have the shape that `Architecture.connect` promises.

    Source: Keras functional API; https://keras.io/guides/functional_api/
    """
    from tasks.core.backend import keras

    pixels, name = math.prod(image_shape), architecture.name
    inputs = keras.Input((pixels,), name="image")
    logits = keras.Model(
        inputs, architecture.connect(inputs, image_shape, recipe, seed), name=f"{name}_logits"
    )
    code = logits.get_layer(CODE_LAYER).output
    found = code.shape, logits.get_layer(LOGITS_LAYER).output.shape
    expected = (None, architecture.code_size), (None, pixels)
    if found != expected:
        raise ValueError(f"The {name} model has code and logits {found}, expected {expected}")
    reconstruction = keras.layers.Activation("sigmoid", name="reconstruction")(logits.output)
    return Autoencoder(
        autoencoder=keras.Model(inputs, reconstruction, name=f"{name}_autoencoder"),
        encoder=keras.Model(inputs, code, name=f"{name}_encoder"),
        logits=logits,
    )
