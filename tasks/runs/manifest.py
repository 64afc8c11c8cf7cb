"""The manifest of a run: what its folder holds, how it came about, and whether it was published."""

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from tasks.codes.errors import CodesError
from tasks.codes.published import MANIFEST_FILE as MANIFEST_FILE
from tasks.codes.published import check_file
from tasks.codes.published import published_link as published_link
from tasks.codes.published import resolve_published as resolve_published
from tasks.codes.published import run_folder as run_folder
from tasks.core.errors import StepError
from tasks.core.records import (
    DatasetRecord,
    FigureRecord,
    FileRecord,
    Metrics,
    Record,
    Versions,
)
from tasks.core.storage import describe_file
from tasks.evaluation.baselines import Baselines
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import Parameters

logger = logging.getLogger(__name__)

ATTEMPT_FOLDER = ".attempt"
"""In the folder of a run being built: what its steps found, for another attempt."""
JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Check(Record):
    """One question of the quality gate."""

    name: str
    passed: bool
    found: float | None = None
    limit: float | None = None
    text: str


class BestLoss(Record):
    """The best loss of a model, with this size of code, published on the same test images."""

    validation_loss: float
    run: str


class Verdict(Record):
    """Whether the run became the published one, and why."""

    outcome: Literal["published", "refused", "quick look"]
    reason: str
    checks: tuple[Check, ...] = ()
    rivals: dict[str, BestLoss] = Field(
        {}, description="what the losses were compared with, by model and code size: deep-32"
    )

    @property
    def published(self) -> bool:
        """Whether the run was to become the published one."""
        return self.outcome == "published"


class Drift(Record):
    """How the training images differ from those of the run published before."""

    rival: str = Field(description="that run")
    mean_shift: float | None = Field(
        description="root mean square of the change of the cells' means, in standard deviations; "
        "null where the images have another shape"
    )
    spread_ratio: float | None = Field(
        description="mean standard deviation, relative to before; null as above"
    )

    def exceeds(self, limit: float) -> bool:
        """Whether the images moved further than so many standard deviations."""
        if self.mean_shift is None or self.spread_ratio is None:
            return True
        return self.mean_shift > limit or abs(self.spread_ratio - 1) > limit


class RunRecord(Record):
    """How a run came about, and what it found."""

    schema_version: Literal[1] = 1
    run: str
    started: datetime
    parameters: Parameters
    dataset: DatasetRecord
    baselines: Baselines
    models: tuple[ModelRecord, ...]
    metrics: dict[str, Metrics] = Field(description="by model name")
    figures: tuple[FigureRecord, ...] = Field((), description="in the order of the report")


class Manifest(RunRecord):
    """What a run folder holds and what became of it. All paths are relative to the folder."""

    finished: datetime
    drift: Drift | None = Field(description="null where nothing was published before")
    verdict: Verdict
    best_losses: dict[str, BestLoss] = Field(
        description="by model and code size, the best published so far on these test images, this "
        "run included; what the next run is compared with"
    )
    versions: Versions
    files: tuple[FileRecord, ...] = Field(description="every other file of the folder")


class Outcome(Record):
    """How a run ended."""

    manifest: Manifest
    unchanged: bool = Field(description="nothing was to be done; the manifest is the published one")


def manifest_schema() -> str:
    """The JSON Schema of a manifest, as tracked in `artifacts/manifest.schema.json`."""
    schema = Manifest.model_json_schema(mode="serialization")
    return json.dumps({"$schema": JSON_SCHEMA_DIALECT, **schema}, indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a run folder.

    Raises:
        StepError: there is none, or it is not one of ours.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise StepError(f"{folder} holds no run ({error.strerror}): choose another") from None
    except ValidationError as error:
        fact = error.errors()[0]
        where = ".".join(map(str, fact["loc"])) or MANIFEST_FILE
        raise StepError(f"{folder / MANIFEST_FILE} is damaged: {where}: {fact['msg']}") from None


def published_run(dataset: str, root: Path) -> str | None:
    """The name of the run that the link leads to, if any."""
    link = published_link(dataset, root)
    return link.resolve().name if link.is_symlink() else None


def find_published(dataset: str, root: Path) -> Manifest | None:
    """The manifest of the published run; none if nothing is published.

    Raises:
        StepError: something is published, but its manifest cannot be read.
    """
    try:
        folder = resolve_published(dataset, root)
    except CodesError:
        return None
    return read_manifest(folder)


def find_runs(root: Path) -> list[Manifest]:
    """Every finished run that this project made, of all datasets, oldest first."""
    found = []
    for folder in (root / "runs").glob("[!.]*"):
        if not (folder / MANIFEST_FILE).exists():
            continue
        try:
            manifest = read_manifest(folder)
        except StepError as error:
            logger.warning("A run is left out: %s", error)
            continue
        if manifest.run == folder.name:
            found.append(manifest)
    return sorted(found, key=lambda manifest: manifest.finished)


def find_run(start: str, root: Path) -> Manifest:
    """The one run whose name begins so; only names of runs that exist become paths.

    Raises:
        StepError: there is none, or more than one.
    """
    found = [run for run in find_runs(root) if run.run.startswith(start)]
    if len(found) != 1:
        raise StepError(f"{len(found)} runs have names that begin with {start!r}, expected one")
    return found[0]


def list_files(folder: Path) -> tuple[FileRecord, ...]:
    """Every file of a folder but its manifest, sorted by path."""
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and path.name != MANIFEST_FILE
        and ATTEMPT_FOLDER not in path.relative_to(folder).parts
    )
    return tuple(describe_file(folder, name) for name in names)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that a run folder holds the files of its manifest, bit by bit, and no others.

    Raises:
        CodesError, StepError: the first file that differs.
    """
    for file in manifest.files:
        check_file(folder, file.path, file.size, file.sha256)
    listed = {file.path for file in manifest.files}
    for file in list_files(folder):
        if file.path not in listed:
            raise StepError(f"{folder / file.path} is not in the run's manifest")
