"""Sweeps: a grid of models, trained and compared. What their folder holds and where it stands."""

import logging
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, FileRecord, Record, Versions
from tasks.core.storage import partial_folder, write_errors_explained
from tasks.evaluation.baselines import Baselines
from tasks.models.store import ModelRecord
from tasks.parameters.sweep import SweepParameters

logger = logging.getLogger(__name__)

RECORD_FILE = "sweep.json"
CHART_FILE = "figures/loss-by-code-size.png"
"""With an SVG of the same name beside it."""
MARKDOWN_FILE = "sweep.md"
TABLE_FILE = "models.csv"


class SweepPoint(Record):
    """One model of the grid, and how good it is on the test images."""

    model: ModelRecord
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")


class SweepRecord(Record):
    """How a sweep came about, and what it found."""

    schema_version: Literal[1] = 1
    run: str
    started: datetime
    parameters: SweepParameters
    dataset: DatasetRecord
    baselines: Baselines = Field(description="with a PCA of as many components as each code size")
    points: tuple[SweepPoint, ...] = Field(description="in the order of the grid")

    def pca_error(self, components: int) -> float:
        """Mean squared error, on the test images, of a PCA with so many components."""
        return self.baselines.pca_of(components).mse


class Sweep(SweepRecord):
    """What a sweep's folder holds. All paths are relative to it."""

    finished: datetime
    versions: Versions
    files: tuple[FileRecord, ...] = Field(description="every other file of the folder")


class Summary(NamedTuple):
    """The models of one architecture and code size: they differ in their seeds."""

    architecture: str
    code_size: int
    losses: list[float]
    """Validation losses, nats per pixel; one for each seed."""
    errors: list[float]
    """Mean squared errors, the same."""

    @property
    def loss(self) -> float:
        """Their mean."""
        return float(np.mean(self.losses))

    @property
    def error(self) -> float:
        """Their mean."""
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
    """Where a finished sweep stands."""
    return root / "sweeps" / run


def building_sweep(run: str, root: Path) -> Path:
    """Where a sweep is built until it is complete."""
    folder = partial_folder(sweep_folder(run, root))
    with write_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_sweep(folder: Path) -> Sweep:
    """Read the record of a sweep.

    Raises:
        StepError: it is missing or damaged.
    """
    path = folder / RECORD_FILE
    try:
        return Sweep.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StepError(f"{folder} holds no sweep ({error.strerror}): choose another") from None
    except ValidationError as error:
        raise StepError(f"{path} is damaged: {error.errors()[0]['msg']}") from None


def find_sweeps(root: Path) -> list[Sweep]:
    """Every finished sweep that this project made, of all datasets, oldest first."""
    found = []
    for folder in (root / "sweeps").glob("[!.]*"):
        if not (folder / RECORD_FILE).exists():
            continue
        try:
            sweep = read_sweep(folder)
        except StepError as error:
            logger.warning("A sweep is left out: %s", error)
            continue
        if sweep.run == folder.name:
            found.append(sweep)
    return sorted(found, key=lambda sweep: sweep.finished)
