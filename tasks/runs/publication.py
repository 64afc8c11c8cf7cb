"""Runs: their folder, and the switch that makes one the published run.

`python -m tasks.runs list` shows the runs; `publish RUN` publishes one of them.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from tasks.codes.errors import AutoencoderError, CodesError
from tasks.codes.reader import verify_codes
from tasks.core.errors import RefusedError, StepError, TransientError
from tasks.core.records import DatasetRecord, Record, Sha256
from tasks.core.storage import (
    lock,
    move_into_place,
    partial_folder,
    remove_partial_files,
    sync,
    write_bytes,
    write_errors_explained,
    write_record,
)
from tasks.core.versions import installed_versions
from tasks.models.store import ModelRecord, copy_model, stored_model
from tasks.reports.report import render_files
from tasks.runs.gate import better_of, find_rivals, judge, measure_drift, rival_key
from tasks.runs.journal import read_journal, record_publication
from tasks.runs.manifest import (
    ATTEMPT_FOLDER,
    MANIFEST_FILE,
    BestLoss,
    Drift,
    Manifest,
    RunRecord,
    Verdict,
    check_files,
    find_published,
    find_runs,
    list_files,
    published_link,
    published_run,
    read_manifest,
    resolve_published,
    run_folder,
)
from tasks.runs.retention import collect, run_lock

logger = logging.getLogger(__name__)

INPUTS_FILE = "inputs.json"
PUBLICATION_LOCK = "publication"
"""Covers comparison, switch and retention, of all datasets."""


class Inputs(Record):
    """What the files in the folder of a run that is being built were made from."""

    weights_sha256: tuple[Sha256, ...]


def building_folder(run: str, root: Path) -> Path:
    """Where a run is built until it is complete."""
    folder = partial_folder(run_folder(run, root))
    with write_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def begin_run(run: str, models: list[ModelRecord], root: Path) -> None:
    """Make room for a run; what an earlier attempt left stays only if it was of these weights."""
    folder = building_folder(run, root)
    path = folder / ATTEMPT_FOLDER / INPUTS_FILE
    inputs = Inputs(weights_sha256=tuple(model.weights_sha256 for model in models))
    try:
        same = Inputs.model_validate_json(path.read_bytes()) == inputs
    except (FileNotFoundError, ValidationError):
        same = False
    if not same:
        shutil.rmtree(folder)
        write_record(path, inputs)


def find_unchanged(
    fingerprints: list[Sha256], dataset: DatasetRecord, root: Path
) -> Manifest | None:
    """The published run, if it has models of these fingerprints and all its files are sound."""
    try:
        folder = resolve_published(dataset.name, root)
    except CodesError:
        return None
    try:
        manifest = read_manifest(folder)
        if [model.fingerprint for model in manifest.models] != fingerprints:
            return None
        if manifest.dataset.class_names != dataset.class_names:
            return None
        check_files(folder, manifest)
    except AutoencoderError as error:
        logger.warning("The published run is made anew: %s", error)
        return None
    if not all(stored_model(root / model.folder) for model in manifest.models):
        return None
    logger.info("Unchanged: the published run %s is what this run would make", manifest.run)
    return manifest


def finish_run(run: str, root: Path) -> Manifest | None:
    """What an earlier attempt at this run completed, if it did; makes good a switch it missed."""
    folder = run_folder(run, root)
    if not folder.exists():
        return None
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    dataset = manifest.dataset.name
    with lock(PUBLICATION_LOCK, root):
        later = [
            entry
            for entry in read_journal(dataset, root).publications
            if entry.time > manifest.finished and entry.run != run
        ]
        if manifest.verdict.published and not later:
            _switch(run, dataset, root)
    return manifest


def complete_run(record: RunRecord, root: Path) -> Manifest:
    """Complete the run's folder, judge it, give it its name, and publish it if it passed.

    A run that the quality gate refuses is kept, but not published. Then deletes what is no longer
    needed.

    Raises:
        StepError: there is a run of this name already, or no room to write.
    """
    if run_folder(record.run, root).exists():  # it may be published, and never changes
        raise StepError(f"Run {record.run} is complete already: choose another name")
    building = building_folder(record.run, root)
    remove_partial_files(building)
    for model in record.models:
        with write_errors_explained(building):
            copied = copy_model(model, building / "models" / model.name, root)
        if not copied:
            raise TransientError(
                f"The {model.name} model changed while it was copied: another run trained it again"
            )
    with lock(PUBLICATION_LOCK, root):
        manifest = _judged(record, building, root)
        write_record(building / MANIFEST_FILE, manifest)
        shutil.rmtree(building / ATTEMPT_FOLDER, ignore_errors=True)
        move_into_place(building, run_folder(record.run, root))
        if manifest.verdict.published:
            _switch(record.run, record.dataset.name, root)
        _collect(record, root)
    logger.info("Run %s: %s: %s", record.run, manifest.verdict.outcome, manifest.verdict.reason)
    return manifest


def _collect(record: RunRecord, root: Path) -> None:
    """Tidy up; whatever goes wrong with that, the run is published."""
    settings, dataset = record.parameters.run, record.dataset.name
    try:
        collect(record.run, dataset, settings.keep, timedelta(hours=settings.grace), root)
    except (OSError, AutoencoderError) as error:
        logger.warning("Old runs could not be deleted: %s", error)


def _judged(record: RunRecord, building: Path, root: Path) -> Manifest:
    """Judge a run and write its report."""
    dataset, parameters = record.dataset, record.parameters
    previous, unreadable = None, None
    try:
        previous = find_published(dataset.name, root)
    except AutoencoderError as error:
        unreadable = str(error)
    drift = measure_drift(previous, record.baselines.pixels.summary)
    if drift and drift.exceeds(parameters.gate.drift):
        _warn_of_drift(drift)
    rivals = find_rivals(dataset, _runs_once_published(dataset.name, root))
    verdict = judge(record.metrics, rivals, parameters.gate, parameters.run, unreadable)
    if previous and verdict.published:
        _warn_of_missing_models(record, previous)
    manifest = Manifest(
        **dict(record),
        finished=datetime.now(UTC),
        drift=drift,
        verdict=verdict,
        best_losses=_best_losses(record, verdict),
        versions=installed_versions(),
        files=(),
    )
    for name, text in render_files(manifest, previous, building).items():
        write_bytes(building / name, text.encode())
    return manifest.model_copy(update={"files": list_files(building)})


def _runs_once_published(dataset: str, root: Path) -> list[Manifest]:
    """Runs of a dataset that the link led to at some time."""
    names = {entry.run for entry in read_journal(dataset, root).publications}
    names.add(published_run(dataset, root) or "")
    return [run for run in find_runs(root) if run.run in names and run.dataset.name == dataset]


def _best_losses(record: RunRecord, verdict: Verdict) -> dict[str, BestLoss]:
    if not verdict.published:
        return verdict.rivals
    own = {
        rival_key(name, metrics.code_size): BestLoss(
            validation_loss=metrics.validation_loss, run=record.run
        )
        for name, metrics in record.metrics.items()
    }
    return better_of(verdict.rivals, own)


def _warn_of_missing_models(record: RunRecord, previous: Manifest) -> None:
    if gone := sorted(previous.metrics.keys() - record.metrics.keys()):
        logger.warning(
            "Readers will miss codes of %s: the run published before, %s, has them",
            ", ".join(gone),
            previous.run,
        )


def _warn_of_drift(drift: Drift) -> None:
    if drift.mean_shift is None:
        logger.warning("The images have another shape than those of run %s", drift.rival)
    else:
        logger.warning(
            "The training images drifted since run %s: their mean by %.3f standard deviations, "
            "their spread by a factor of %.3f",
            drift.rival,
            drift.mean_shift,
            drift.spread_ratio,
        )


def raise_if_refused(manifest: Manifest) -> None:
    """Make a refusal a failure.

    Raises:
        RefusedError: the quality gate refused the run.
    """
    if manifest.verdict.outcome == "refused":
        raise RefusedError(
            f"Run {manifest.run} is not published: {manifest.verdict.reason}. It is kept; "
            f"to publish it all the same: python -m tasks.runs publish {manifest.run} "
            "--anyway"
        )


def _switch(run: str, dataset: str, root: Path) -> None:
    """Switch `published/<dataset>` to a run in one atomic rename; the caller holds the lock."""
    link = published_link(dataset, root)
    with write_errors_explained(link):
        link.parent.mkdir(exist_ok=True)
        record_publication(run, dataset, root, published_run(dataset, root))
        new = partial_folder(link)
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(run_folder(run, root), link.parent))
        new.replace(link)
        sync(link.parent)


def publish(run: str, root: Path, anyway: bool = False) -> Manifest:
    """Verify a finished run from end to end and make it the published one: back, or forth again.

    Raises:
        StepError: the run is damaged, or was not meant to be published and `anyway` is not set.
    """
    with lock(PUBLICATION_LOCK, root):
        folder = run_folder(run, root)
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        for codes in (folder / "codes").glob("*.h5"):
            verify_codes(codes)
        if not (manifest.verdict.published or anyway):
            raise StepError(
                f"Run {run} was not published: {manifest.verdict.reason}. Add --anyway to publish "
                "it all the same"
            )
        _switch(run, manifest.dataset.name, root)
    return manifest


@contextmanager
def run_in_progress(run: str, root: Path) -> Iterator[None]:
    """Tell retention that a run is being made; one process at a time makes it."""
    with lock(run_lock(run), root):
        # Whoever is deleting what no run needs has not seen this one: let them finish first.
        with lock(PUBLICATION_LOCK, root):
            pass
        yield
