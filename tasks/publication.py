"""Runs: their folder, their manifest, and the switch that makes one the published run."""

import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from tasks.models import RECORD_FILE, ModelRecord, stored_model
from tasks.parameters import Parameters
from tasks.records import DatasetRecord, FileRecord, Metrics, Record, Sha256, Versions
from tasks.storage import (
    describe_file,
    lock,
    partial_folder,
    settle_folder,
    sweep_partial,
    sync,
    write_errors_explained,
    write_record,
)
from tasks.versions import installed_versions

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Verdict(Record):
    """Whether the run became the published one, and why."""

    published: bool
    reason: str


class Outcome(Record):
    """How a run ended."""

    manifest: "Manifest"
    unchanged: bool = Field(description="nothing was to be done; the manifest is the published one")


class Manifest(Record):
    """What a run folder holds and how it came about. All paths are relative to the folder."""

    schema_version: Literal[1] = 1
    run: str
    started: datetime
    finished: datetime
    parameters: Parameters
    dataset: DatasetRecord
    models: tuple[ModelRecord, ...]
    metrics: dict[str, Metrics] = Field(description="by model name")
    verdict: Verdict
    versions: Versions
    files: tuple[FileRecord, ...] = Field(description="every other file of the folder")


def manifest_schema() -> str:
    """The JSON Schema of a manifest, as tracked in `artifacts/manifest.schema.json`."""
    schema = Manifest.model_json_schema(mode="serialization")
    return json.dumps({"$schema": JSON_SCHEMA_DIALECT, **schema}, indent=2) + "\n"


def run_folder(run: str, root: Path) -> Path:
    """Where a finished run stands."""
    return root / "runs" / run


def building_folder(run: str, root: Path) -> Path:
    """Where a run is built until it is complete."""
    folder = partial_folder(run_folder(run, root))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_model(record: ModelRecord, folder: Path, root: Path) -> None:
    """Copy a model's files into a run folder, which then depends on nothing outside itself."""
    target = folder / "models" / record.name
    target.mkdir(parents=True, exist_ok=True)
    for name in (RECORD_FILE, *(file.path for file in record.files)):
        shutil.copyfile(root / record.folder / name, target / name)


def list_files(folder: Path) -> tuple[FileRecord, ...]:
    """Every file of a folder but its manifest, sorted by path."""
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST_FILE
    )
    return tuple(describe_file(folder, name) for name in names)


def find_unchanged(fingerprints: list[Sha256], dataset: str, root: Path) -> Manifest | None:
    """The published run, if it has models of these fingerprints and all its files are sound."""
    link = root / "published" / dataset
    try:
        folder = link.resolve(strict=True)
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        if [model.fingerprint for model in manifest.models] != fingerprints:
            return None
        sound = list_files(folder) == manifest.files and all(
            stored_model(root / model.folder) for model in manifest.models
        )
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        logger.warning("The published run cannot be read (%s): it is made anew", error)
        return None
    if not sound:
        logger.warning("The published run or its models are damaged: they are made anew")
        return None
    return manifest


def judge(parameters: Parameters) -> Verdict:
    """Whether a run is to be published."""
    if parameters.run.quick:
        return Verdict(published=False, reason="a quick look is never published")
    return Verdict(published=True, reason="published")


def complete_run(
    run: str,
    started: datetime,
    parameters: Parameters,
    dataset: DatasetRecord,
    models: list[ModelRecord],
    metrics: dict[str, Metrics],
    root: Path,
) -> Manifest:
    """Complete the run's folder, give it its name and, if the verdict says so, publish it."""
    building = building_folder(run, root)
    sweep_partial(building)
    with write_errors_explained(building):
        for model in models:
            copy_model(model, building, root)
    manifest = Manifest(
        run=run,
        started=started,
        finished=datetime.now(UTC),
        parameters=parameters,
        dataset=dataset,
        models=tuple(models),
        metrics=metrics,
        verdict=judge(parameters),
        versions=installed_versions(),
        files=list_files(building),
    )
    write_record(building / MANIFEST_FILE, manifest)
    settle_folder(building, run_folder(run, root))
    if manifest.verdict.published:
        publish(run_folder(run, root), dataset.name, root)
    logger.info("Run %s: %s", run, manifest.verdict.reason)
    return manifest


def publish(folder: Path, dataset: str, root: Path) -> None:
    """Switch `published/<dataset>` to a run folder in one atomic rename."""
    link = root / "published" / dataset
    link.parent.mkdir(exist_ok=True)
    with lock("publication", root):
        new = link.parent / f".partial-{dataset}"
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(folder, link.parent))
        new.replace(link)
        sync(link.parent)
