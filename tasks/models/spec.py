"""What people choose about the training of one model."""

from typing import Literal

from pydantic import Field

from tasks.core.records import Record, Sha256
from tasks.models.architectures import AnyArchitecture, Architecture
from tasks.models.recipes import Recipe, RecipeName, default_recipe

STRENGTH = 0.012
"""How strongly a code is kept near its anchor's; docs/training.md has the trials."""


class Anchor(Record):
    """A trained encoder whose coordinate system another model keeps.

    Added to the loss of each image: strength / code size * |code - anchor's code|^2.
    """

    basis: Sha256 = Field(description="SHA-256 of the encoder's weights")
    fingerprint: Sha256 = Field(description="of the training that gave the encoder")
    scale: float = Field(gt=0, description="the pixel value that was 1.0 in that training")
    strength: float = Field(gt=0)


class TrainingSpec(Record):
    """Everything people choose that determines the trained weights, except the images."""

    architecture: AnyArchitecture
    recipe: Recipe
    seed: int = Field(ge=0)
    precision: Literal["float32"] = "float32"
    anchor: Anchor | None = Field(None, description="null: the model defines a basis of its own")

    def anchored_to(self, anchor: Anchor) -> "TrainingSpec":
        """The same training in the coordinate system of the anchor, which nothing else changes."""
        recipe = self.recipe.model_copy(update={"whiten": (), "unit_variance": False})
        return self.model_copy(update={"recipe": recipe, "anchor": anchor})


def choose_recipe(
    name: RecipeName, architecture: Architecture, epochs: int, batch_size: int
) -> Recipe:
    """The lab's recipe, or the default recipe as the architecture adapts it."""
    if name == "lab":
        return Recipe(epochs=epochs, batch_size=batch_size)
    return architecture.adapt(default_recipe(epochs, batch_size))
