"""What a step's result amounts to, in a few words for the log."""

from functools import singledispatch

from tasks.core.records import DatasetRecord, FileRecord
from tasks.encoding.neighbors import NeighborsRecord
from tasks.evaluation.records import Baselines, Metrics
from tasks.models.store import ModelRecord
from tasks.runs.manifest import Manifest


@singledispatch
def amount(result: object) -> str:
    """A few words; none where the step's name says it all."""
    return f"{len(result)} figures" if isinstance(result, list) else ""


@amount.register
def _(dataset: DatasetRecord) -> str:
    rows = ", ".join(f"{count:,} {split} images" for split, count in dataset.rows.items())
    return f"{rows} of {dataset.name}"


@amount.register
def _(model: ModelRecord) -> str:
    return f"{model.spec.recipe.epochs} epochs, validation loss {model.validation_loss:.4f}"


@amount.register
def _(file: FileRecord) -> str:
    return f"{file.path}, {_megabytes([file])}"


@amount.register
def _(baselines: Baselines) -> str:
    errors = (f"PCA-{pca.components} error {pca.mse:.5f}" for pca in baselines.pca)
    return ", ".join([f"entropy floor {baselines.pixels.entropy_floor:.4f}", *errors])


@amount.register
def _(metrics: Metrics) -> str:
    return (
        f"loss {metrics.validation_loss:.4f}, error {metrics.reconstruction_mse:.5f}, "
        f"{metrics.live_units} of {metrics.code_size} code units live"
    )


@amount.register
def _(run: Manifest) -> str:
    size = _megabytes(run.files)
    return f"run {run.run}, {run.verdict.outcome}, {len(run.files)} files, {size}"


@amount.register
def _(found: NeighborsRecord) -> str:
    return f"{len(found.files)} files, {_megabytes(found.files)}"


def _megabytes(files: tuple[FileRecord, ...] | list[FileRecord]) -> str:
    return f"{sum(file.size for file in files) / 1e6:.1f} MB"
