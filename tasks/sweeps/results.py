"""Make a sweep of trained models: measure them, write table, chart and record; delete old ones."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.records import DatasetRecord
from tasks.core.settings import read_settings
from tasks.core.storage import load_or_compute, read_record, remove_partial_files, write_bytes
from tasks.core.versions import installed_versions
from tasks.images.store import open_images
from tasks.models.store import ModelRecord, stored_model
from tasks.runs.building import (
    ATTEMPT_FOLDER,
    PUBLICATION_LOCK,
    building_folder,
    finish_building,
    list_files,
)
from tasks.runs.lookup import check_files
from tasks.runs.retention import delete, delete_unneeded, failures_logged
from tasks.sweeps.records import (
    CHART_FILE,
    MARKDOWN_FILE,
    RECORD_FILE,
    TABLE_FILE,
    Sweep,
    SweepPoint,
    SweepRecord,
    find_sweeps,
    summarize,
    sweep_folder,
)


def obtain_point(run: str, model: ModelRecord, dataset: DatasetRecord, root: Path) -> SweepPoint:
    """Measure a model on the test images, unless an earlier attempt at this sweep did."""

    def measure() -> SweepPoint:
        return SweepPoint(model=model, reconstruction_mse=_measure_error(model, dataset, root))

    folder = building_folder(run, root, "sweeps") / ATTEMPT_FOLDER
    point = load_or_compute(folder / f"{model.fingerprint}.json", SweepPoint, measure)
    return point if point.model == model else measure()  # trained again meanwhile


def _measure_error(model: ModelRecord, dataset: DatasetRecord, root: Path) -> float:
    """Mean squared error on the test images, 0 to 1 scale; computed block by block."""
    from tasks.encoding.encoder import load_autoencoder  # loads TensorFlow

    images = open_images(dataset, "test", root)
    blocks = load_autoencoder(model, root).encode(images, dataset.scale)
    total = sum(block.reconstruction_mse.sum(dtype=np.float64) for block in blocks)
    return float(total / len(images))


def find_completed_sweep(run: str, root: Path) -> Sweep | None:
    """The sweep if an earlier attempt completed it.

    Raises:
        AutoencoderError: it is damaged.
    """
    folder = sweep_folder(run, root)
    if not folder.exists():
        return None
    sweep = read_record(folder / RECORD_FILE, Sweep)
    check_files(folder, sweep.files, RECORD_FILE)
    return sweep


def complete_sweep(record: SweepRecord, root: Path) -> Sweep:
    """Write table, chart and record, give the folder its final name, and delete old sweeps.

    Raises:
        StepError: no model could be trained, one is missing, or there is no room to write.
    """
    if not record.points:
        raise StepError(f"No model of the sweep could be trained: {record.failed[0].reason}")
    for model in (point.model for point in record.points):
        _check_model(model, root)
    from tasks.sweeps.chart import draw_sweep  # loads Matplotlib

    building = building_folder(record.run, root, "sweeps")
    remove_partial_files(building)
    summaries = summarize(record.points)
    draw_sweep(summaries, record.baselines, building / CHART_FILE)
    write_bytes(building / TABLE_FILE, render_csv(record).encode())
    write_bytes(building / MARKDOWN_FILE, render_markdown(record).encode())
    sweep = Sweep(
        **dict(record),
        finished=datetime.now(UTC),
        versions=installed_versions(),
        files=list_files(building, RECORD_FILE),
    )
    settings = read_settings()
    with lock(PUBLICATION_LOCK, root):
        finish_building(building, RECORD_FILE, sweep, sweep_folder(sweep.run, root))
        delete_old_sweeps(sweep.run, sweep.dataset.name, settings.keep, settings.grace, root)
    return sweep


def _check_model(model: ModelRecord, root: Path) -> None:
    """Others may train a model again meanwhile: only to other weights does it matter."""
    stored = stored_model(root / model.folder)
    if stored is None:
        raise StepError(
            f"{root / model.folder} holds no model, although it was trained: all workers need this "
            "artifacts folder, each at the path that it has there"
        )
    if stored.weights_sha256 != model.weights_sha256:
        raise StepError(
            f"{root / model.folder} no longer holds the weights that were measured: another run "
            "trained the model again. Start the sweep once more"
        )


@failures_logged()
def delete_old_sweeps(own_run: str, dataset: str, keep: int, grace: timedelta, root: Path) -> None:
    """Delete old sweeps of a dataset, then what is unneeded; the caller holds the publication lock.

    Kept are the sweep in progress (`own_run`), the newest `keep` sweeps, and those that finished
    less than `grace` ago.
    """
    sweeps = [sweep for sweep in find_sweeps(root) if sweep.dataset.name == dataset]
    for sweep in sweeps[:-keep]:
        if sweep.run != own_run and datetime.now(UTC) - sweep.finished >= grace:
            delete(sweep_folder(sweep.run, root))
    delete_unneeded(own_run, grace, root)


def render_csv(record: SweepRecord) -> str:
    """A row for each model, in the order of the grid; numbers in full precision."""
    rows = [
        {
            "architecture": point.model.name,
            "layers": point.model.layers,
            "code_size": point.code_size,
            "seed": point.model.spec.seed,
            "epochs": point.model.spec.recipe.epochs,
            "validation_loss": point.model.validation_loss,
            "mean_squared_error": point.reconstruction_mse,
            "pca_mean_squared_error": record.baselines.pca_of(point.code_size).mse,
            "fingerprint": point.model.fingerprint,
        }
        for point in record.points
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def render_markdown(record: SweepRecord) -> str:
    """A table with a row for each architecture and code size, and the chart.

    Names of datasets and architectures need no escaping: their patterns allow plain text only.
    """
    columns = ["architecture", "code size", "seeds", "validation loss", "mean squared error", "PCA"]
    lines = [columns, ["---"] * len(columns)]
    for one in summarize(record.points):
        losses = _mean_and_range(one.loss, one.losses, 4)
        errors = _mean_and_range(one.error, one.errors, 5)
        pca = f"{record.baselines.pca_of(one.code_size).mse:.5f}"
        lines.append(
            [one.architecture, str(one.code_size), str(len(one.losses)), losses, errors, pca]
        )
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return (
        f"# Sweep over {record.dataset.name}\n\n"
        "Validation loss: binary cross-entropy per pixel of the test images, in nats; it cannot be "
        f"below the entropy floor, {record.baselines.pixels.entropy_floor:.4f}. PCA: mean squared "
        "error with as many components as the code has units. Values are means over the seeds, "
        "with the range in parentheses.\n\n"
        f"{table}\n\n{_list_failures(record)}![Loss and error by code size]({CHART_FILE})\n"
    )


def _list_failures(record: SweepRecord) -> str:
    """A line of markdown for each model that could not be trained."""
    lines = [
        f"- {one.architecture}, code size {one.code_size}, seed {one.seed}: {one.reason}\n"
        for one in record.failed
    ]
    return "".join(["Not trained:\n\n", *lines, "\n"]) if lines else ""


def _mean_and_range(mean: float, values: list[float], digits: int) -> str:
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
