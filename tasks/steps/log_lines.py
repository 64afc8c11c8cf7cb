"""The result of a step in a few words, for its log line."""

from tasks.core.records import DatasetRecord, FileRecord
from tasks.evaluation.records import Baselines, Metrics
from tasks.models.store import ModelRecord
from tasks.reports.metrics_table import describe_worth


def summarize_dataset(dataset: DatasetRecord) -> str:
    """Number of images of each split."""
    rows = ", ".join(f"{count:,} {split} images" for split, count in dataset.rows.items())
    return f"{rows} of {dataset.name}"


def summarize_model(model: ModelRecord) -> str:
    """Epochs and validation loss."""
    epochs = model.spec.recipe.epochs
    unit = "epoch" if epochs == 1 else "epochs"
    return f"{epochs} {unit}, validation loss {model.validation_loss:.4f}"


def summarize_file(file: FileRecord) -> str:
    """Path and size."""
    return f"{file.path}, {file.size / 1e6:.1f} MB"


def summarize_baselines(baselines: Baselines) -> str:
    """Entropy floor and the errors of the PCAs."""
    errors = (f"PCA-{pca.components} error {pca.mse:.5f}" for pca in baselines.pca)
    return ", ".join([f"entropy floor {baselines.pixels.entropy_floor:.4f}", *errors])


def summarize_metrics(metrics: Metrics) -> str:
    """What the codes are worth, loss, error and live code units."""
    return (
        f"{describe_worth(metrics)}, loss {metrics.validation_loss:.4f}, "
        f"error {metrics.reconstruction_mse:.5f}, "
        f"{metrics.live_units} of {metrics.code_size} code units live"
    )
