"""The parameters of a sweep: form, flags of `python -m flows.sweep` and record."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from tasks.core.form import Group, parameter, titled
from tasks.models.architectures import MAX_CODE_SIZE
from tasks.models.spec import TrainingSpec
from tasks.parameters.images import SEED, DataParameters, Images
from tasks.parameters.training import (
    FREE_NAMES,
    NAMES,
    OPTIONAL,
    BuiltInName,
    OwnArchitecture,
    Training,
    TrainingParameters,
    training_specs,
)

MAX_MODELS = 256
"""Models of the largest grid."""


def _refuse_duplicates(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is given more than once")
    return values


DISTINCT = AfterValidator(_refuse_duplicates)
CodeSize = Annotated[int, Field(ge=1, le=MAX_CODE_SIZE)]


class GridParameters(Group):
    """Which models to train: every architecture with every code size and every seed."""

    architectures: Annotated[tuple[BuiltInName, ...], DISTINCT] = parameter(
        tuple(name for name in NAMES if name not in OPTIONAL),
        "Architectures",
        "Which ones to train; models that a run has trained already are reused",
        max_length=len(NAMES),
        json_schema_extra={"uniqueItems": True},
    )
    extra: Annotated[tuple[OwnArchitecture, ...], FREE_NAMES] = parameter(
        (), "Architectures of your own", "More architectures to train", max_length=16
    )
    code_sizes: Annotated[tuple[CodeSize, ...], DISTINCT] = parameter(
        (8, 16, 32, 64),
        "Code sizes",
        "How many numbers describe one image: one or more sizes",
        min_length=1,
        max_length=64,
        json_schema_extra={"uniqueItems": True},
    )
    seeds: int = parameter(
        1,
        "Seeds",
        "How many random seeds to train each model with: that of the training and the next ones",
        f"at most {MAX_MODELS} models in all",
        ge=1,
        le=64,
    )

    @model_validator(mode="after")
    def _check_number_of_models(self) -> Self:
        architectures = len(self.architectures) + len(self.extra)
        models = architectures * len(self.code_sizes) * self.seeds
        if not models:
            raise ValueError("The grid has no models: name an architecture")
        if models > MAX_MODELS:
            raise ValueError(f"The grid has {models} models, expected at most {MAX_MODELS}")
        return self


Grid = Annotated[GridParameters, titled("Grid")]


class SweepParameters(Group):
    """Everything a person can choose about a sweep."""

    grid: Grid = GridParameters()
    training: Training = TrainingParameters()
    data: Images = DataParameters()

    @model_validator(mode="after")
    def _check_last_seed(self) -> Self:
        first, count = self.training.seed, self.grid.seeds
        if first + count - 1 > SEED["le"]:
            raise ValueError(
                f"{count} seeds from {first} on: expected the last one to be at most {SEED['le']}"
            )
        return self

    def specs(self) -> list[TrainingSpec]:
        """What to train, in order; each is what a run with these parameters would train."""
        grid, first = self.grid, self.training.seed
        return [
            spec
            for code_size in grid.code_sizes
            for seed in range(first, first + grid.seeds)
            for spec in training_specs(
                grid.architectures,
                code_size,
                grid.extra,
                self.training.model_copy(update={"seed": seed}),
            )
        ]
