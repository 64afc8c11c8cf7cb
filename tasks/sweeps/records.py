"""The record of a sweep: a grid of models, trained and compared."""

from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from tasks.core.records import DatasetRecord, FileRecord, Record, Versions
from tasks.evaluation.records import Baselines
from tasks.models.store import ModelRecord
from tasks.runs.lookup import find_results
from tasks.runs.manifest import ResultRecord

RECORD_FILE = "sweep.json"
CHART_FILE = "figures/loss-by-code-size.png"
"""With an SVG of the same name beside it."""
MARKDOWN_FILE = "sweep.md"
TABLE_FILE = "models.csv"


class SweepPoint(Record):
    """One model of the grid and its error on the test images."""

    model: ModelRecord
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")


class SweepRecord(ResultRecord):
    """Inputs and results of a sweep, before it is complete."""

    dataset: DatasetRecord
    baselines: Baselines = Field(description="with a PCA for each code size")
    points: tuple[SweepPoint, ...] = Field(description="in the order of the grid")

    def pca_error(self, components: int) -> float:
        """Mean squared error of a PCA on the test images, 0 to 1 scale."""
        return self.baselines.pca_of(components).mse


class Sweep(SweepRecord):
    """The record of a finished sweep. All paths are relative to its folder."""

    finished: datetime
    versions: Versions
    files: tuple[FileRecord, ...] = Field(description="every other file of the folder")


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
    names = list(dict.fromkeys(point.model.name for point in points))

    def place(point: SweepPoint) -> tuple[int, int]:
        return names.index(point.model.name), point.model.spec.architecture.code_size

    found = []
    for (position, code_size), group in groupby(sorted(points, key=place), key=place):
        members = list(group)
        losses = [point.model.validation_loss for point in members]
        errors = [point.reconstruction_mse for point in members]
        found.append(Summary(names[position], code_size, losses, errors))
    return found


def sweep_folder(run: str, root: Path) -> Path:
    """The folder of a finished sweep."""
    return root / "sweeps" / run


def find_sweeps(root: Path) -> list[Sweep]:
    """All finished sweeps of all datasets, oldest first."""
    sweeps = find_results(root / "sweeps", RECORD_FILE, Sweep)
    return sorted(sweeps, key=lambda sweep: sweep.finished)
