"""Make a sweep of trained models: measure them, write table, chart and record."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.records import DatasetRecord
from tasks.core.storage import load_or_compute, read_record, remove_partial_files, write_bytes
from tasks.core.versions import installed_versions
from tasks.images.store import open_images
from tasks.models.store import ModelRecord, stored_model
from tasks.parameters.sweep import SweepParameters
from tasks.runs.building import (
    ATTEMPT_FOLDER,
    PUBLICATION_LOCK,
    building_folder,
    finish_building,
    list_files,
)
from tasks.runs.lookup import check_files
from tasks.sweeps.records import (
    CHART_FILE,
    MARKDOWN_FILE,
    RECORD_FILE,
    TABLE_FILE,
    Summary,
    Sweep,
    SweepPoint,
    SweepRecord,
    summarize,
    sweep_folder,
)
from tasks.sweeps.retention import delete_old_sweeps


def obtain_point(run: str, model: ModelRecord, dataset: DatasetRecord, root: Path) -> SweepPoint:
    """Measure a model on the test images, unless an earlier attempt at this sweep did."""

    def measure() -> SweepPoint:
        return SweepPoint(model=model, reconstruction_mse=_measure_error(model, dataset, root))

    folder = building_folder(run, root, "sweeps") / ATTEMPT_FOLDER
    point = load_or_compute(folder / f"{model.fingerprint}.json", SweepPoint, measure)
    return point if point.model == model else measure()


def _measure_error(model: ModelRecord, dataset: DatasetRecord, root: Path) -> float:
    """Mean squared error on the test images, 0 to 1 scale; computed block by block."""
    from tasks.encoding.encoder import load_autoencoder  # loads TensorFlow

    images = open_images(dataset, "test", root)
    blocks = load_autoencoder(model, root).encode(images, dataset.scale)
    total = sum(block.reconstruction_mse.sum(dtype=np.float64) for block in blocks)
    return float(total / len(images))


def finish_sweep(run: str, root: Path) -> Sweep | None:
    """The sweep that an earlier attempt completed; none if there is none.

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
        StepError: a model is missing, or there is no room to write.
    """
    for point in record.points:
        if stored_model(root / point.model.folder) != point.model:
            raise StepError(
                f"{root / point.model.folder} is not the model that was trained: all workers need "
                "this artifacts folder, each at the path that it has there"
            )
    building = building_folder(record.run, root, "sweeps")
    remove_partial_files(building)
    _draw(record, building / CHART_FILE)
    write_bytes(building / TABLE_FILE, render_csv(record).encode())
    write_bytes(building / MARKDOWN_FILE, render_markdown(record).encode())
    sweep = Sweep(
        **dict(record),
        finished=datetime.now(UTC),
        versions=installed_versions(),
        files=list_files(building, RECORD_FILE),
    )
    results = SweepParameters.model_validate(record.parameters).results
    keep, grace = results.keep, timedelta(hours=results.grace)
    with lock(PUBLICATION_LOCK, root):
        finish_building(building, RECORD_FILE, sweep, sweep_folder(sweep.run, root))
        delete_old_sweeps(sweep.run, sweep.dataset.name, keep, grace, root)
    return sweep


def _draw(record: SweepRecord, path: Path) -> None:
    from tasks.sweeps.chart import draw_sweep  # loads Matplotlib

    errors = {scores.components: scores.mse for scores in record.baselines.pca}
    floor = record.baselines.pixels.entropy_floor
    draw_sweep(summarize(record.points), errors, floor, [path, path.with_suffix(".svg")])


def render_csv(record: SweepRecord) -> str:
    """A row for each model, in the order of the grid; numbers in full precision."""
    rows = [
        {
            "architecture": point.model.name,
            "layers": point.model.layers,
            "code_size": point.model.spec.architecture.code_size,
            "seed": point.model.spec.seed,
            "epochs": point.model.spec.recipe.epochs,
            "validation_loss": point.model.validation_loss,
            "mean_squared_error": point.reconstruction_mse,
            "pca_mean_squared_error": record.pca_error(point.model.spec.architecture.code_size),
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
    rows = [
        (*_cells(summary), f"{record.pca_error(summary.code_size):.5f}")
        for summary in summarize(record.points)
    ]
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return (
        f"# Sweep over {record.dataset.name}\n\n"
        "Validation loss: binary cross-entropy per pixel of the test images, in nats; it cannot be "
        f"below the entropy floor, {record.baselines.pixels.entropy_floor:.4f}. PCA: mean squared "
        "error with as many components as the code has units. Values are means over the seeds, "
        "with the range in parentheses.\n\n"
        f"{table}\n\n![Loss and error by code size]({CHART_FILE})\n"
    )


def _cells(summary: Summary) -> Iterator[str]:
    yield from (summary.architecture, str(summary.code_size), str(len(summary.losses)))
    for values, mean, digits in (
        (summary.losses, summary.loss, 4),
        (summary.errors, summary.error, 5),
    ):
        spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
        yield f"{mean:.{digits}f}{spread}"
