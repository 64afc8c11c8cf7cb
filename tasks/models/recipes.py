"""How a model is trained, as data: optimizer, learning rates, first weights."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.records import Record

RecipeName = Literal["default", "lab"]


class Recipe(Record):
    """Adam on binary cross-entropy, in shuffled batches, with this schedule."""

    # The defaults are Keras's, as in the lab. They must never change, and a field that is added
    # needs a default that keeps earlier trainings as they were (see tasks.models.fingerprint).

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    peak_learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps that rise to the peak")
    decay: Literal["linear", "constant"] = Field(
        "constant", description="from the peak: to zero, or not at all"
    )
    beta_2: float = Field(
        0.999, gt=0, lt=1, description="Adam's decay of the squared gradient's mean"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="times the learning rate: share that kernels lose in each step"
    )
    kernels: Literal["GlorotUniform", "Orthogonal"] = Field(
        "GlorotUniform", description="first weights"
    )
    code_bias: float = Field(0.0, ge=0, description="first bias of every unit of the code layer")
    rebalance: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the epochs that end with rebalancing the code's units",
    )


def default_recipe(epochs: int, batch_size: int) -> Recipe:
    """The recipe that architectures adapt; docs/training.md has the trials behind each number."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        peak_learning_rate=8e-3,
        warmup=0.12,
        decay="linear",
        beta_2=0.95,
        kernels="Orthogonal",
        code_bias=0.5,
    )


def learning_rates(recipe: Recipe, steps: int) -> NDArray[np.float32]:
    """The learning rate of every optimizer step, (steps,) float32.

    Rises linearly to the peak over the first `warmup` of the steps, then falls linearly so that it
    would be zero one step after the last, or stays.
    """
    step = np.arange(steps, dtype=np.float64)
    rise = max(1.0, recipe.warmup * steps)
    factor = np.minimum(1.0, (step + 1) / rise)
    if recipe.decay == "linear":
        factor = np.minimum(factor, (steps - step) / (steps - rise + 1))
    return (recipe.peak_learning_rate * factor).astype(np.float32)
