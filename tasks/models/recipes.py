"""How models are trained, as data: schedules and what identifies a training."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.records import Record
from tasks.models.architectures import WIDE, Architecture

LAB_LEARNING_RATE = 1e-3
"""Keras's default for Adam, which the lab leaves unchanged."""


RecipeName = Literal["default", "lab"]


class Recipe(Record):
    """Adam on binary cross-entropy, in shuffled batches, with this schedule."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    peak_learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1, description="share of all steps that rise to the peak")
    decay: Literal["linear", "constant"] = Field(
        description="from the peak: to zero, or not at all"
    )
    beta_2: float = Field(gt=0, lt=1, description="Adam's decay of the squared gradient's mean")
    weight_decay: float = Field(
        0.0, ge=0, description="times the learning rate: share that kernels lose in each step"
    )
    kernels: Literal["GlorotUniform", "Orthogonal"] = Field(description="first weights")
    code_bias: float = Field(ge=0, description="first bias of every unit of the code layer")
    rebalance: float = Field(
        ge=0, lt=1, description="share of the epochs that end with rebalancing the code's units"
    )


class TrainingSpec(Record):
    """Everything people choose that determines the trained weights, but the images."""

    architecture: Architecture
    recipe: Recipe
    seed: int = Field(ge=0)
    precision: Literal["float32"] = "float32"


def choose_recipe(
    name: RecipeName, architecture: Architecture, epochs: int, batch_size: int
) -> Recipe:
    """Make the recipe of that name for an architecture."""
    if name == "lab":
        return Recipe(
            epochs=epochs,
            batch_size=batch_size,
            peak_learning_rate=LAB_LEARNING_RATE,
            warmup=0.0,
            decay="constant",
            beta_2=0.999,
            kernels="GlorotUniform",
            code_bias=0.0,
            rebalance=0.0,
        )
    recipe = Recipe(
        epochs=epochs,
        batch_size=batch_size,
        peak_learning_rate=8e-3,
        warmup=0.12,
        decay="linear",
        beta_2=0.95,
        # Without the next three settings, 2 to 7 of the deep model's 32 code units die.
        kernels="Orthogonal",
        code_bias=0.5,
        # Units of a shallow code stay alive by themselves; rebalancing costs it 0.0015 of loss.
        rebalance=0.95 if architecture.hidden else 0.0,
    )
    return recipe.model_copy(update=_own_settings(architecture, recipe))


def _own_settings(architecture: Architecture, recipe: Recipe) -> dict[str, Any]:
    """What serves an architecture better than the default; found by trial, see docs/training.md."""
    if architecture.name != WIDE.name:
        return {}
    return {
        "batch_size": max(1, recipe.batch_size // 2),
        "peak_learning_rate": 5e-3,
        "weight_decay": 0.06,
        "rebalance": 0.0,
    }


def learning_rates(recipe: Recipe, steps: int) -> NDArray[np.float32]:
    """The learning rate of every step of a training, (steps,) float32.

    Rises linearly to the peak over the first `warmup` of the steps, then falls linearly so that it
    would be zero one step after the last, or stays.
    """
    step = np.arange(steps, dtype=np.float64)
    rise = max(1.0, recipe.warmup * steps)
    factor = np.minimum(1.0, (step + 1) / rise)
    if recipe.decay == "linear":
        factor = np.minimum(factor, (steps - step) / (steps - rise + 1))
    return (recipe.peak_learning_rate * factor).astype(np.float32)
