"""The record of a sweep: a grid of models, trained and compared."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from tasks.core.records import Record
from tasks.models.store import ModelRecord
from tasks.runs.lookup import find_results
from tasks.runs.manifest import FinishedRecord, ResultRecord

RECORD_FILE = "sweep.json"
CHART_FILE = "figures/loss-by-code-size.png"
"""With an SVG of the same name beside it."""
MARKDOWN_FILE = "sweep.md"
TABLE_FILE = "models.csv"


class SweepPoint(Record):
    """One model of the grid and its error on the test images."""

    model: ModelRecord
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")

    @property
    def code_size(self) -> int:
        """Units of the model's code."""
        return self.model.spec.architecture.code_size


class FailedPoint(Record):
    """One model of the grid that cannot be trained."""

    architecture: str
    code_size: int
    seed: int
    reason: str


class SweepRecord(ResultRecord):
    """Inputs and results of a sweep, before it is complete."""

    points: tuple[SweepPoint, ...] = Field(description="in the order of the grid")
    failed: tuple[FailedPoint, ...] = Field((), description="the others of the grid")


class Sweep(FinishedRecord, SweepRecord):
    """The record of a finished sweep. All paths are relative to its folder."""


class Summary(NamedTuple):
    """The models of one architecture and code size, which differ in their seeds."""

    architecture: str
    code_size: int
    losses: list[float]
    """Validation loss of each seed, nats per pixel."""
    errors: list[float]
    """Mean squared error of each seed, 0 to 1 scale."""

    @property
    def loss(self) -> float:
        """Mean validation loss."""
        return float(np.mean(self.losses))

    @property
    def error(self) -> float:
        """Mean of the mean squared errors."""
        return float(np.mean(self.errors))


def summarize(points: tuple[SweepPoint, ...]) -> list[Summary]:
    """One summary for each architecture, in the order of the grid, and code size, rising."""
    names = dict.fromkeys(point.model.name for point in points)
    sizes = sorted({point.code_size for point in points})
    found = []
    for name in names:
        for size in sizes:
            group = [one for one in points if (one.model.name, one.code_size) == (name, size)]
            losses = [point.model.validation_loss for point in group]
            errors = [point.reconstruction_mse for point in group]
            found.append(Summary(name, size, losses, errors))
    return [summary for summary in found if summary.losses]


def sweep_folder(run: str, root: Path) -> Path:
    """The folder of a finished sweep."""
    return root / "sweeps" / run


def find_sweeps(root: Path) -> list[Sweep]:
    """All finished sweeps of all datasets, oldest first."""
    return find_results(root / "sweeps", RECORD_FILE, Sweep)
