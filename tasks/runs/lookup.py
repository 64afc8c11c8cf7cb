"""Find finished runs and verify their files."""

import logging
from pathlib import Path
from typing import TypeVar

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import MANIFEST_FILE, check_file, published_link, run_folder
from tasks.core.errors import StepError, command
from tasks.core.records import DatasetRecord, FileRecord, Sha256
from tasks.core.storage import read_record
from tasks.models.fingerprint import fingerprint_of
from tasks.models.spec import TrainingSpec
from tasks.models.store import ModelRecord, stored_model
from tasks.parameters.retrain import Parameters
from tasks.runs.building import file_names
from tasks.runs.journal import read_journal
from tasks.runs.manifest import (
    DERIVED_VERSION,
    FinishedRecord,
    Manifest,
    read_manifest,
    short_name,
)

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=FinishedRecord)


def find_results(folder: Path, record_file: str, kind: type[R]) -> list[R]:
    """All runs, or all sweeps, in the sub-folders of a folder, oldest first.

    Unreadable records are logged and left out; copies under another name are left out.
    """
    found = []
    for path in folder.glob(f"[!.]*/{record_file}"):
        try:
            result = read_record(path, kind)
        except StepError as error:
            logger.warning("Ignored %s: %s", path.parent.name, error)
            continue
        if result.run == path.parent.name:
            found.append(result)
    return sorted(found, key=lambda result: result.finished)


def find_runs(root: Path) -> list[Manifest]:
    """All finished runs of all datasets, oldest first."""
    return find_results(root / "runs", MANIFEST_FILE, Manifest)


def is_named(run: str, words: str) -> bool:
    """Whether a person means a run: by the start of its id, or by the name that Prefect shows."""
    return run.startswith(words) or words.endswith(f"-{short_name(run)}")


def find_run(start: str, root: Path) -> Manifest:
    """The run that is meant by `start`, which never becomes part of a path; see `is_named`.

    Raises:
        StepError: there is none, or more than one.
    """
    found = [run for run in find_runs(root) if is_named(run.run, start)]
    if not found:
        raise StepError(
            f"No run starts with {start!r} in {root}. List them: {command('tasks.runs list')}"
        )
    if len(found) > 1:
        names = ", ".join(run.run for run in found)
        raise StepError(f"{len(found)} runs start with {start!r}: {names}. Type more of the name")
    return found[0]


def resolve_run(words: str, root: Path) -> str:
    """The id of a run that a person names.

    Raises:
        AutoencoderError: there is none, or more than one.
    """
    return words if run_folder(words, root).exists() else find_run(words, root).run


def published_run(dataset: str, root: Path) -> str | None:
    """The name of the run that the link leads to; none if nothing is published.

    Raises:
        StepError: there is a folder in place of the link.
    """
    link = published_link(dataset, root)
    if link.exists() and not link.is_symlink():
        raise StepError(
            f"{link} is not a link: whatever copied the artifacts folder followed it. Move it out "
            "of the folder, then publish the run that its manifest.json names again: "
            f"{command('tasks.runs publish RUN')}"
        )
    return link.resolve().name if link.is_symlink() else None


def find_published(dataset: str, root: Path) -> Manifest | None:
    """The manifest of the published run; none if nothing is published, or the run is gone.

    Raises:
        StepError: the manifest cannot be read.
    """
    run = published_run(dataset, root)
    folder = run_folder(run, root) if run else None
    return read_manifest(folder) if folder and folder.exists() else None


def find_ever_published(dataset: str, root: Path) -> list[Manifest]:
    """The runs of a dataset that are or were published."""
    names = {entry.run for entry in read_journal(dataset, root).publications}
    names.add(published_run(dataset, root) or "")
    return [run for run in find_runs(root) if run.run in names and run.dataset.name == dataset]


def find_unchanged(
    fingerprints: list[Sha256], dataset: DatasetRecord, root: Path
) -> Manifest | None:
    """The published run, if a new run with models of these fingerprints would only repeat it."""
    try:
        run = find_published(dataset.name, root)
        if run is None or [model.fingerprint for model in run.models] != fingerprints:
            return None
        check_files(run_folder(run.run, root), run.files)
    except AutoencoderError as error:
        logger.warning("The published run will be replaced: %s", error)
        return None
    sound = all(stored_model(root / model.folder) for model in run.models)
    if run.derived_version != DERIVED_VERSION:
        logger.info("The published run is of another version: all but its models is made anew")
        return None
    if not sound or run.dataset.class_names != dataset.class_names:
        return None
    logger.info("Unchanged: the published run %s would be repeated", short_name(run.run))
    return run


def expects_training(parameters: Parameters, root: Path) -> bool:
    """Whether a run will have to train or encode, as far as the published run's manifest tells.

    Takes milliseconds, as no image and no model is read. It can be wrong, so let it only decide
    what is prepared ahead.
    """
    if parameters.run.inspect:
        return False
    if parameters.run.quick or parameters.run.retrain:
        return True
    try:
        run = find_published(parameters.data.dataset, root)
    except StepError:
        return True
    specs = parameters.specs()
    if run is None or run.derived_version != DERIVED_VERSION or len(specs) != len(run.models):
        return True
    return any(
        not (root / model.folder).exists()
        or fingerprint_of(run.dataset, _in_basis_of(model, spec), model.device) != model.fingerprint
        for spec, model in zip(specs, run.models, strict=True)
    )


def _in_basis_of(model: ModelRecord, spec: TrainingSpec) -> TrainingSpec:
    """A training with the anchor of a stored model, if that has one."""
    return spec.anchored_to(model.spec.anchor) if model.spec.anchor else spec


def check_files(
    folder: Path, files: tuple[FileRecord, ...], record_file: str = MANIFEST_FILE
) -> None:
    """Check that a folder holds exactly the files of its record, bit by bit.

    Raises:
        CodesError: a file is missing or different.
        StepError: a file is not in the record.
    """
    for file in files:
        check_file(folder, file.path, file.size, file.sha256)
    if unlisted := set(file_names(folder, record_file)) - {file.path for file in files}:
        raise StepError(f"{folder / min(unlisted)} is not in {record_file}: remove it")
