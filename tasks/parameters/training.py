"""Which models are trained, and how: what the parameters of retrain and sweep share.

Fields that belong to one built-in architecture are made from the registry, `BUILT_IN`.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from tasks.core.form import Group, parameter, titled
from tasks.core.records import DeviceChoice
from tasks.models.architectures import (
    BUILT_IN,
    MAX_CODE_SIZE,
    NAME_PATTERN,
    Activation,
    DenseArchitecture,
)
from tasks.models.recipes import RecipeName
from tasks.models.spec import TrainingSpec, choose_recipe
from tasks.parameters.images import SEED

NAMES = tuple(model.architecture.name for model in BUILT_IN)
OPTIONAL = {model.architecture.name: model.optional for model in BUILT_IN if model.optional}
RESERVED_NAMES = {"index", "labels", "original", "pixels", *NAMES}
"""Names in codes files and figures, which no other model can have."""
EPOCHS: dict[str, Any] = {"ge": 1, "le": 10000}
CODE_SIZE: Any = parameter(
    32,
    "Code size",
    "Size of the code: how many numbers describe one image",
    ge=1,
    le=MAX_CODE_SIZE,
)
if TYPE_CHECKING:
    BuiltInName = str
else:
    BuiltInName = Literal[NAMES]

EPOCHS_FIELDS: dict[str, Any] = {
    f"{name}_epochs": (
        int,
        parameter(
            model.epochs, f"{name.capitalize()} epochs", f"Epochs of the {name} model", **EPOCHS
        ),
    )
    for name, model in zip(NAMES, BUILT_IN, strict=True)
}
CHOICE_FIELDS: dict[str, Any] = {
    name: (
        bool,
        parameter(False, f"{name.capitalize()} model", f"Also train the {name} model: {reason}"),
    )
    for name, reason in OPTIONAL.items()
}


class TrainingParameters(create_model("Epochs", __base__=Group, **EPOCHS_FIELDS)):  # type: ignore[misc]  # mypy knows no base made at run time
    """How to train the models."""

    seed: int = parameter(
        0, "Seed", "Random seed for the initial weights and the order of images", **SEED
    )
    device: DeviceChoice = parameter(
        "auto", "Device", "Where to compute; auto takes a GPU if one is visible"
    )
    recipe: RecipeName = parameter(
        "default",
        "Recipe",
        "default gives the best models; lab is the training of the notebook exercise that this "
        "project grew from",
    )
    batch_size: int = parameter(256, "Batch size", "Images per optimizer step", ge=1, le=65536)


Training = Annotated[TrainingParameters, titled("Training")]


class OwnArchitecture(Group):
    """A dense autoencoder of your own."""

    name: str = parameter(
        "mine",
        "Name",
        f"Name of the model in files and reports; not {', '.join(NAMES)}",
        "lower-case letters, digits and underscores",
        pattern=NAME_PATTERN,
        max_length=32,
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = parameter(
        (64,),
        "Hidden layers",
        "Units of the encoder's hidden layers; the decoder has them in reverse",
        max_length=8,
    )
    activation: Activation = parameter("relu", "Activation", "Activation of the hidden layers")
    epochs: int = parameter(50, "Epochs", "Passes over the training images", **EPOCHS)


class ExtraModel(OwnArchitecture):
    """A dense autoencoder of your own, with its code size."""

    code_size: int = CODE_SIZE


def _refuse_taken_names(models: Sequence[OwnArchitecture]) -> Sequence[OwnArchitecture]:
    taken = set(RESERVED_NAMES)
    for model in models:
        if model.name in taken:
            raise ValueError(f"The name {model.name} is taken: choose another")
        taken.add(model.name)
    return models


FREE_NAMES = AfterValidator(_refuse_taken_names)


class ModelParameters(create_model("Choices", __base__=Group, **CHOICE_FIELDS)):  # type: ignore[misc]  # as above
    """Which models to train."""

    code_size: int = CODE_SIZE
    extra: Annotated[tuple[ExtraModel, ...], FREE_NAMES] = parameter(
        (), "Models of your own", "More models to train", max_length=16
    )

    @property
    def names(self) -> list[str]:
        """The built-in models to train."""
        return [name for name in NAMES if name not in OPTIONAL or getattr(self, name)]


Models = Annotated[ModelParameters, titled("Models")]


def training_specs(
    names: Collection[str],
    code_size: int,
    own: Sequence[OwnArchitecture],
    training: TrainingParameters,
    quick: bool = False,
) -> list[TrainingSpec]:
    """What to train, in order: the built-in models with these names, then the others.

    Args:
        code_size: of every model that has none of its own.
        quick: train each model for one epoch.
    """
    chosen = [
        (
            model.architecture.model_copy(update={"code_size": code_size}),
            getattr(training, f"{name}_epochs"),
        )
        for name, model in zip(NAMES, BUILT_IN, strict=True)
        if name in names
    ]
    for model in own:
        fields = {"code_size": code_size, **model.model_dump(exclude={"epochs"})}
        chosen.append((DenseArchitecture(**fields), model.epochs))
    name, size = training.recipe, training.batch_size
    return [
        TrainingSpec(
            architecture=architecture,
            recipe=choose_recipe(name, architecture, 1 if quick else epochs, size),
            seed=training.seed,
        )
        for architecture, epochs in chosen
    ]
