"""The parameters of a run, stated once.

The same models are the groups of the form in the Prefect UI, the flags of `python -m flows.retrain`
and the `parameters` block of the manifest.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from tasks.core.form import Group, parameter
from tasks.core.records import DeviceChoice
from tasks.models.architectures import (
    BUILT_IN,
    DEEP,
    MAX_CODE_SIZE,
    NAME_PATTERN,
    SHALLOW,
    WIDE,
    Activation,
    Architecture,
)
from tasks.models.recipes import RecipeName, TrainingSpec, choose_recipe
from tasks.parameters.source import DATASET_PATTERN, SourceParameters

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class DataParameters(SourceParameters):
    """Which images to learn from."""

    test_share: float = parameter(
        0.1,
        "Test share",
        "How much of the images is set apart for testing, where the source has no test images",
        unit="share of the images",
        gt=0,
        lt=1,
    )
    split_seed: int = parameter(
        0, "Split seed", "Which images those are derives from it", ge=0, le=2**32 - 1
    )
    class_names: tuple[ClassName, ...] = parameter(
        (),
        "Class names",
        "Names of the classes 0, 1, ... in figures and reports; empty: those of Fashion-MNIST, of "
        "the sub-folders, or the numbers",
        max_length=1000,
    )


class TrainingParameters(Group):
    """How the models learn."""

    recipe: RecipeName = parameter(
        "default",
        "Recipe",
        "`default` warms the learning rate up, then lets it fall to zero; `lab` keeps the constant "
        "0.001 of the lab",
    )
    shallow_epochs: int = parameter(
        20,
        "Shallow epochs",
        "Passes of the shallow model over the training images",
        "epochs",
        ge=1,
        le=10000,
    )
    deep_epochs: int = parameter(
        50,
        "Deep epochs",
        "Passes of the deep model over the training images",
        "epochs",
        ge=1,
        le=10000,
    )
    wide_epochs: int = parameter(
        40,
        "Wide epochs",
        "Passes of the wide model over the training images",
        "epochs",
        ge=1,
        le=10000,
    )
    batch_size: int = parameter(
        256,
        "Batch size",
        "Images of one optimizer step; the wide model takes half as many",
        "images",
        ge=1,
        le=65536,
    )
    seed: int = parameter(
        0,
        "Seed",
        "First weights and order of the images derive from it",
        ge=0,
        le=2**32 - 1,
    )
    device: DeviceChoice = parameter(
        "auto", "Device", "Where to compute; `auto` takes a GPU if one is visible"
    )


class ExtraModel(Group):
    """A dense autoencoder of one's own."""

    name: str = parameter(
        "mine",
        "Name",
        "What the model is called in files and reports; not shallow, deep or wide",
        unit="lower-case letters, digits and underscores",
        pattern=NAME_PATTERN,
        max_length=32,
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = parameter(
        (64,),
        "Hidden layers",
        "Units of the encoder's hidden layers; the decoder has them in reverse",
        max_length=8,
    )
    activation: Activation = parameter("relu", "Activation", "Of the hidden layers")
    code_size: int = parameter(
        32, "Code size", "Numbers of a code", "units", ge=1, le=MAX_CODE_SIZE
    )
    epochs: int = parameter(
        50, "Epochs", "Passes over the training images", "epochs", ge=1, le=10000
    )


class ModelParameters(Group):
    """Which models are trained beside the shallow and the deep one."""

    code_size: int = parameter(
        32,
        "Code size",
        "Numbers of a code of the shallow, the deep and the wide model",
        "units",
        ge=1,
        le=MAX_CODE_SIZE,
    )
    wide: bool = parameter(
        False, "Wide model", "Train the wide model too, which shows what so small a code can hold"
    )
    extra: tuple[ExtraModel, ...] = parameter(
        (), "Models of your own", "More models to train, after the others", max_length=16
    )

    @field_validator("extra")
    @classmethod
    def _names_are_free(cls, extra: tuple[ExtraModel, ...]) -> tuple[ExtraModel, ...]:
        taken = [
            "index",
            "labels",
            "original",
            "pixels",
            *(architecture.name for architecture in BUILT_IN),
        ]
        for model in extra:
            if model.name in taken:
                raise ValueError(f"The name {model.name} is taken")
            taken.append(model.name)
        return extra


class GateParameters(Group):
    """What a run must reach to be published."""

    tolerance: float = parameter(
        0.05,
        "Tolerance",
        "How much worse a model may be than the best one published on the same test images",
        unit="share of the rival's loss above the entropy floor",
        ge=0,
        le=100,
    )
    live_share: float = parameter(
        0.75, "Live units", "Least share of a code's units that must be alive", ge=0, le=1
    )
    pca_ratio: float = parameter(
        1.0,
        "Error relative to PCA",
        "A model's mean squared error may be at most this many times that of a PCA with as many "
        "components as the code has units",
        gt=0,
        le=1000,
    )
    drift: float = parameter(
        0.1,
        "Drift",
        "Warn if the mean or the spread of the training images moved further since the run "
        "published before; never refuses",
        unit="standard deviations",
        gt=0,
        le=1000,
    )


class RunParameters(Group):
    """What to do with the results."""

    quick: bool = parameter(
        False,
        "Quick look",
        "Train each model for one epoch to see that everything works; never published",
    )
    retrain: bool = parameter(
        False,
        "Retrain",
        "Train again even what is there already; otherwise a run that would change nothing ends "
        "as unchanged",
    )
    publish_anyway: bool = parameter(
        False, "Publish anyway", "Publish even what the quality gate would refuse"
    )
    keep: int = parameter(
        5,
        "Runs to keep",
        "Newest published runs that are kept; as many that were not published are kept beside them",
        "runs",
        ge=1,
        le=1000,
    )
    grace: float = parameter(
        1.0,
        "Grace period",
        "How long a run stays after another took its place, and unused models and leftovers stay "
        "untouched, whatever the number of runs",
        "hours",
        ge=0,
        le=10000,
    )


class Parameters(Group):
    """Everything a person can choose about a run."""

    data: DataParameters = DataParameters()
    models: ModelParameters = ModelParameters()
    training: TrainingParameters = TrainingParameters()
    gate: GateParameters = GateParameters()
    run: RunParameters = RunParameters()

    def specs(self) -> list[TrainingSpec]:
        """What to train, in order; a quick look trains each model for one epoch."""
        return [
            TrainingSpec(
                architecture=architecture,
                recipe=choose_recipe(
                    self.training.recipe,
                    architecture,
                    1 if self.run.quick else epochs,
                    self.training.batch_size,
                ),
                seed=self.training.seed,
            )
            for architecture, epochs in self._architectures()
        ]

    def _architectures(self) -> Iterator[tuple[Architecture, int]]:
        """Every architecture with its number of epochs."""
        code_size = {"code_size": self.models.code_size}
        yield SHALLOW.model_copy(update=code_size), self.training.shallow_epochs
        yield DEEP.model_copy(update=code_size), self.training.deep_epochs
        if self.models.wide:
            yield WIDE.model_copy(update=code_size), self.training.wide_epochs
        for model in self.models.extra:
            yield Architecture(**model.model_dump(exclude={"epochs"})), model.epochs


class CodesParameters(Group):
    """Whose codes."""

    dataset: str = parameter(
        "fashion-mnist",
        "Dataset",
        "The codes of its published run are taken",
        pattern=DATASET_PATTERN,
        max_length=64,
    )
    run: str | None = parameter(
        None,
        "Run",
        "Name of a run whose codes are taken instead, published or not",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$",
        max_length=64,
    )


class NeighborsParameters(Group):
    """Everything a person can choose about a search for neighbours."""

    codes: CodesParameters = CodesParameters()
