"""How a model is trained, as data: optimizer, learning rates, first weights."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.records import Record

RecipeName = Literal["default", "lab"]


class Recipe(Record):
    """How a model is trained on binary cross-entropy, in shuffled batches."""

    # The defaults are Keras's, as in the lab. They must never change, and a field that is added
    # needs a default that keeps earlier trainings as they were (see tasks.models.fingerprint).

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    peak_learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps that rise to the peak")
    decay: Literal["linear", "constant"] = Field(
        "constant", description="from the peak: to zero, or not at all"
    )
    beta_2: float = Field(0.999, gt=0, lt=1, description="decay of the squared gradient's mean")
    weight_decay: float = Field(
        0.0, ge=0, description="times the learning rate: share that kernels lose in each step"
    )
    kernels: Literal["GlorotUniform", "Orthogonal"] = Field(
        "GlorotUniform", description="first weights"
    )
    code_bias: float = Field(0.0, ge=0, description="first bias of every unit of the code layer")
    optimizer: Literal["adam", "soap"] = Field("adam", description="see tasks.models.soap")
    basis_steps: int = Field(
        100, ge=1, description="SOAP: optimizer steps between two updates of its eigenbases"
    )
    max_side: int = Field(
        256, ge=1, description="SOAP: longest side of a kernel that gets an eigenbasis"
    )
    centred: bool = Field(
        False, description="the mean image is subtracted, and folded into the first bias at the end"
    )
    whiten: tuple[float, ...] = Field(
        (),
        description="shares of the epochs after which the code is whitened, unless its ReLU acts",
    )
    unit_variance: bool = Field(
        False, description="each code unit is divided by its standard deviation at the end"
    )
    shifted: float = Field(
        0.0, ge=0, le=1, description="share of the training images that are moved by one pixel"
    )

    @property
    def whitening_epochs(self) -> frozenset[int]:
        """Numbers of the epochs, from 1, that end with whitening; never the last one."""
        return frozenset(round(share * self.epochs) for share in self.whiten) - {self.epochs}


def default_recipe(epochs: int, batch_size: int) -> Recipe:
    """The recipe that architectures adapt; docs/training.md has the trials behind each number."""
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer="soap",
        peak_learning_rate=5e-3,
        warmup=0.12,
        decay="linear",
        beta_2=0.95,
        weight_decay=0.05,
        kernels="Orthogonal",
        code_bias=0.5,
        whiten=(0.5, 0.7, 0.85, 0.93),
        unit_variance=True,
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
