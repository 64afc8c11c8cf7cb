"""Complete a run, judge it, and switch `published/<dataset>` to it if it passed the gate."""

import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from tasks.codes.published import MANIFEST_FILE, published_link, run_folder
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.records import CodesSha256, FileRecord
from tasks.core.settings import read_settings
from tasks.core.storage import (
    describe_file,
    make_folder,
    partial_folder,
    remove_partial_files,
    sync,
    write_bytes,
    write_errors_explained,
    write_record,
)
from tasks.core.versions import installed_versions
from tasks.models.store import copy_model
from tasks.parameters.retrain import Parameters
from tasks.runs.building import (
    ATTEMPT_FOLDER,
    PUBLICATION_LOCK,
    WAITING_FILE,
    building_folder,
    digest_codes,
    finish_building,
    list_files,
)
from tasks.runs.croissant import CROISSANT_FILE, describe_run
from tasks.runs.gate import NOBODY, Person, judge, measure_drift, plan_review, warn_of_drift
from tasks.runs.journal import read_journal, record_publication, record_retirement
from tasks.runs.kept_basis import list_bases
from tasks.runs.lookup import check_files, find_ever_published, find_published
from tasks.runs.manifest import (
    DERIVED_VERSION,
    Approval,
    Manifest,
    RunRecord,
    read_manifest,
    short_name,
)
from tasks.runs.outbox import record_missed
from tasks.runs.retention import delete_old_runs
from tasks.runs.rivals import find_rivals, list_losses, merge_best

logger = logging.getLogger(__name__)

RenderReport = Callable[[Manifest, Manifest | None, Path], dict[str, str]]
"""From the manifests of a run and of the published one, if any, and the run's folder: the text of
each file of the report, by its name."""


def complete_run(
    record: RunRecord,
    root: Path,
    render: RenderReport,
    codes: Iterable[FileRecord] = (),
    person: Person = NOBODY,
) -> Manifest:
    """Complete a run's folder, judge it, publish it if it passed, and delete old runs.

    Where a person has to decide first, the folder stays as it is, with the manifest so far in it.

    Args:
        codes: codes files that were verified when they were written; others are verified here.

    Raises:
        CodesError: a codes file is damaged.
        StepError: a run of this name is complete already, there is no room to write, or a model
            was trained again to other weights.
    """
    folder = run_folder(record.run, root)
    if folder.exists():  # it may be published, and never changes
        raise StepError(f"Run {record.run} is complete already: choose another name")
    building = building_folder(record.run, root)
    remove_partial_files(building)
    record = _copy_models(record, building, root)
    codes_sha256 = digest_codes(building, codes)
    dataset = record.dataset.name
    with lock(PUBLICATION_LOCK, root):
        record_missed(dataset, root)
        manifest = _judge_run(record, codes_sha256, person, building, root, render)
        if manifest.verdict.waits:
            write_record(building / ATTEMPT_FOLDER / WAITING_FILE, manifest)
            return manifest
        finish_building(building, MANIFEST_FILE, manifest, folder)
        if manifest.verdict.published:
            switch_link(manifest, root)
        settings = read_settings()
        delete_old_runs(record.run, dataset, settings.keep, settings.grace, root)
    _log_outcome(manifest)
    return manifest


def _copy_models(record: RunRecord, building: Path, root: Path) -> RunRecord:
    """Copy the models; return the record with those that were copied."""
    models = []
    for model in record.models:
        with write_errors_explained(building):
            copied = copy_model(model, building / "models" / model.name, root)
        if not copied:
            raise StepError(
                f"{root / model.folder} no longer holds the weights that the codes were computed "
                "with: another run trained the model again. Start this run once more"
            )
        models.append(copied)
    return record.model_copy(update={"models": tuple(models)})


def _judge_run(
    record: RunRecord,
    codes_sha256: CodesSha256,
    person: Person,
    building: Path,
    root: Path,
    render: RenderReport,
) -> Manifest:
    """Judge a run, write its report, and return its manifest."""
    dataset, parameters = record.dataset, Parameters.model_validate(record.parameters)
    try:
        previous, unreadable = find_published(dataset.name, root), None
    except StepError as error:
        previous, unreadable = None, str(error)
    drift = measure_drift(previous, record.baselines.pixels.summary)
    warn_of_drift(drift, parameters.gate.drift)
    ever, journal = find_ever_published(dataset.name, root), read_journal(dataset.name, root)
    rivals = find_rivals(dataset, record.models, ever, journal.retired)
    review = plan_review(record, rivals, journal.last_run, person)
    gate, run = parameters.gate, parameters.run
    verdict = judge(record, rivals, gate, run, unreadable, previous, review)
    own = list_losses(record) if verdict.passed else {}
    manifest = Manifest(
        **dict(record),
        previous=journal.last_run,
        finished=datetime.now(UTC),
        drift=drift,
        verdict=verdict,
        best_losses=merge_best((rivals.best, own)),
        codes_sha256=codes_sha256,
        earlier_bases=list_bases(previous) if previous else (),
        derived_version=DERIVED_VERSION,
        versions=installed_versions(),
        files=(),
    )
    if previous and verdict.published:
        _warn_of_missing_models(manifest, previous)
    for name, text in render(manifest, previous, building).items():
        write_bytes(building / name, text.encode())
    return manifest.model_copy(update={"files": _describe_files(manifest, building)})


def _describe_files(manifest: Manifest, building: Path) -> tuple[FileRecord, ...]:
    """Write the description of all files for other tools; return the files, this one included."""
    # A killed attempt may have left one.
    files = [file for file in list_files(building, MANIFEST_FILE) if file.path != CROISSANT_FILE]
    write_bytes(building / CROISSANT_FILE, describe_run(manifest, files).encode())
    files.append(describe_file(building, CROISSANT_FILE))
    return tuple(sorted(files, key=lambda file: file.path))


def _warn_of_missing_models(manifest: Manifest, previous: Manifest) -> None:
    if missing := sorted(previous.metrics.keys() - manifest.metrics.keys()):
        logger.warning(
            "This run has no codes of %s, which the published run %s has",
            ", ".join(missing),
            short_name(previous.run),
        )


def _log_outcome(manifest: Manifest) -> None:
    run, verdict = short_name(manifest.run), manifest.verdict
    if verdict.outcome == "quick look":
        logger.info("Run %s is a quick look and is not published", run)
    else:
        logger.info("Run %s is %s. %s", run, verdict.outcome, verdict.reason)


def settle(manifest: Manifest, approval: Approval, root: Path, render: RenderReport) -> Manifest:
    """Judge a run that waited anew, with an answer; it may have to wait for another one.

    Raises:
        As `complete_run`.
    """
    record = RunRecord(**{name: getattr(manifest, name) for name in RunRecord.model_fields})
    return complete_run(record, root, render, person=Person(can_be_asked=True, answer=approval))


def resume_publication(run: str, root: Path) -> Manifest | None:
    """The manifest of a run if an earlier attempt completed it.

    If that attempt ended before the switch, and no other run was published since, switches now.

    Raises:
        AutoencoderError: the run is damaged.
    """
    folder = run_folder(run, root)
    if not folder.exists():
        return None
    manifest = _read_verified(folder)
    dataset = manifest.dataset.name
    with lock(PUBLICATION_LOCK, root):
        record_missed(dataset, root)
        if manifest.verdict.published and not _is_superseded(manifest, root):
            switch_link(manifest, root)
    return manifest


def _is_superseded(manifest: Manifest, root: Path) -> bool:
    """Whether another run was published since a run was completed; no clock decides that."""
    journal = read_journal(manifest.dataset.name, root)
    if any(entry.run == manifest.run for entry in journal.publications):  # somebody went back since
        return journal.last_run != manifest.run
    return journal.last_run != manifest.previous


def publish(run: str, root: Path, anyway: bool = False) -> Manifest:
    """Verify a finished run and make it the published one.

    Args:
        anyway: publish even a run that the gate refused, or a quick look.

    Raises:
        AutoencoderError: the run is damaged, or its verdict is not to publish it.
    """
    with lock(PUBLICATION_LOCK, root):
        folder = run_folder(run, root)
        manifest = _read_verified(folder)
        # The manifest of version 0.1.0 lacks them.
        codes_sha256 = manifest.codes_sha256 or digest_codes(folder)
        if not (manifest.verdict.published or anyway):
            raise StepError(f"{manifest.verdict.reason} Add --anyway to publish {run}")
        record_missed(manifest.dataset.name, root)
        switch_link(manifest.model_copy(update={"codes_sha256": codes_sha256}), root)
    return manifest


def retire(rival: str, dataset: str, root: Path) -> None:
    """Compare no later run of a dataset with the losses of a run."""
    with lock(PUBLICATION_LOCK, root):
        record_retirement(rival, dataset, root)


def _read_verified(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    check_files(folder, manifest.files)
    return manifest


def switch_link(manifest: Manifest, root: Path, time: datetime | None = None) -> None:
    """Switch the link in one atomic rename and record it; the caller holds the publication lock.

    Args:
        time: when the run was published, if that was elsewhere before.
    """
    run, dataset = manifest.run, manifest.dataset.name
    link = published_link(dataset, root)
    with write_errors_explained(link):
        make_folder(link.parent)
        new = partial_folder(link)
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(run_folder(run, root), link.parent))
        new.replace(link)
        sync(link.parent)
    record_publication(run, dataset, root, manifest.codes_sha256, time)
