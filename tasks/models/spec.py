"""What people choose about the training of one model."""

from typing import Literal

from pydantic import Field

from tasks.core.records import Record
from tasks.models.architectures import AnyArchitecture, Architecture
from tasks.models.recipes import Recipe, RecipeName, default_recipe


class TrainingSpec(Record):
    """Everything people choose that determines the trained weights, except the images."""

    architecture: AnyArchitecture
    recipe: Recipe
    seed: int = Field(ge=0)
    precision: Literal["float32"] = "float32"


def choose_recipe(
    name: RecipeName, architecture: Architecture, epochs: int, batch_size: int
) -> Recipe:
    """The lab's recipe, or the default recipe as the architecture adapts it."""
    if name == "lab":
        return Recipe(epochs=epochs, batch_size=batch_size)
    return architecture.adapt(default_recipe(epochs, batch_size))
