"""The parameters of a sweep, stated once: form, flags and record, as those of a run."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.core.form import Group, parameter
from tasks.models.architectures import MAX_CODE_SIZE, Activation
from tasks.models.recipes import TrainingSpec
from tasks.parameters.retrain import (
    DataParameters,
    ExtraModel,
    ModelParameters,
    Parameters,
    TrainingParameters,
)

MAX_MODELS = 256
"""Models of the largest grid."""
MAX_SEED = 2**32 - 1
CodeSize = Annotated[int, Field(ge=1, le=MAX_CODE_SIZE)]


def same_as(group: type[Group], name: str) -> Any:
    """Declare a field as another group has it."""
    return group.model_fields[name]


class OwnArchitecture(Group):
    """A dense autoencoder of one's own; its code sizes are those of the grid."""

    name: str = same_as(ExtraModel, "name")
    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = same_as(ExtraModel, "hidden")
    activation: Activation = same_as(ExtraModel, "activation")
    epochs: int = same_as(ExtraModel, "epochs")


class GridParameters(Group):
    """Which models are trained: every architecture with every code size and every seed."""

    architectures: tuple[Literal["shallow", "deep", "wide"], ...] = parameter(
        ("shallow", "deep"),
        "Architectures",
        "Those that a run trains too; what a run trained is not trained again",
        max_length=3,
        json_schema_extra={"uniqueItems": True},
    )
    extra: tuple[OwnArchitecture, ...] = parameter(
        (), "Architectures of your own", "More architectures, after the others", max_length=16
    )
    code_sizes: tuple[CodeSize, ...] = parameter(
        (8, 16, 32, 64),
        "Code sizes",
        f"Numbers of a code; each at least 1, at most {MAX_CODE_SIZE}",
        "units",
        min_length=1,
        max_length=64,
        json_schema_extra={"uniqueItems": True},
    )
    seeds: int = parameter(
        1,
        "Seeds",
        "How often each model is trained: with the seed of the training, and with those after it",
        f"seeds; at most {MAX_MODELS} models in all",
        ge=1,
        le=64,
        validate_default=True,  # it answers for the size of the whole grid
    )

    @field_validator("architectures", "code_sizes")
    @classmethod
    def _nothing_stands_twice(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{value} stands there more than once")
        return values

    @field_validator("extra")
    @classmethod
    def _names_are_free(cls, extra: tuple[OwnArchitecture, ...]) -> tuple[OwnArchitecture, ...]:
        ModelParameters(extra=_with_code_size(extra, 1))
        return extra

    @field_validator("seeds")
    @classmethod
    def _there_are_models_but_not_too_many(cls, seeds: int, info: ValidationInfo) -> int:
        kinds = len(info.data.get("architectures", ())) + len(info.data.get("extra", ()))
        models = kinds * len(info.data.get("code_sizes", ())) * seeds
        if info.data.keys() >= {"architectures", "extra", "code_sizes"}:
            if not models:
                raise ValueError("The grid has no models: name an architecture")
            if models > MAX_MODELS:
                raise ValueError(f"The grid has {models} models, expected at most {MAX_MODELS}")
        return seeds


class SweepResultParameters(Group):
    """How long the results stay."""

    keep: int = parameter(
        5, "Sweeps to keep", "Newest sweeps of a dataset that are kept", "sweeps", ge=1, le=1000
    )
    grace: float = parameter(
        1.0,
        "Grace period",
        "How long a sweep, unused models and leftovers stay, whatever the number of sweeps",
        "hours",
        ge=0,
        le=10000,
    )


class SweepParameters(Group):
    """Everything a person can choose about a sweep."""

    data: DataParameters = DataParameters()
    grid: GridParameters = GridParameters()
    training: TrainingParameters = TrainingParameters()
    results: SweepResultParameters = SweepResultParameters()

    @field_validator("training")
    @classmethod
    def _seeds_are_in_bounds(
        cls, training: TrainingParameters, info: ValidationInfo
    ) -> TrainingParameters:
        grid = info.data.get("grid")
        if grid and training.seed + grid.seeds - 1 > MAX_SEED:
            raise ValueError(
                f"{grid.seeds} seeds from {training.seed} on: expected the last one to be at most "
                f"{MAX_SEED}"
            )
        return training

    def specs(self) -> list[TrainingSpec]:
        """What to train, in order; each is what a run with these parameters would train."""
        wanted = {*self.grid.architectures, *(own.name for own in self.grid.extra)}
        return [
            spec
            for code_size in self.grid.code_sizes
            for number in range(self.grid.seeds)
            for spec in self._run(code_size, self.training.seed + number).specs()
            if spec.architecture.name in wanted
        ]

    def _run(self, code_size: int, seed: int) -> Parameters:
        """The parameters of a run that trains this part of the grid, and perhaps more."""
        extra = _with_code_size(self.grid.extra, code_size)
        return Parameters(
            models=ModelParameters(code_size=code_size, wide=True, extra=extra),
            training=self.training.model_copy(update={"seed": seed}),
        )


def _with_code_size(own: tuple[OwnArchitecture, ...], code_size: int) -> tuple[ExtraModel, ...]:
    return tuple(ExtraModel(code_size=code_size, **model.model_dump()) for model in own)
