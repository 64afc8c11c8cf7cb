"""The result of a step in a few words, for its line in the log and at a terminal."""

from tasks.core.records import DatasetRecord, FigureRecord, FileRecord
from tasks.evaluation.records import Baselines, Metrics
from tasks.models.store import ModelRecord
from tasks.runs.manifest import Outcome, short_name
from tasks.steps.observer import Facts
from tasks.stores.copying import Copied

SPLIT_NAMES = {"train": "training"}
"""As people call them."""


def summarize_dataset(dataset: DatasetRecord) -> Facts:
    """Number of images of each split."""
    counts = [f"{count:,} {SPLIT_NAMES.get(split, split)}" for split, count in dataset.rows.items()]
    return Facts(f"{' and '.join(counts)} images, verified")


def summarize_model(model: ModelRecord) -> Facts:
    """Layers, parameters and validation loss."""
    text = f"{model.layers}, {model.parameters:,} parameters"
    return Facts(text, f"loss {model.validation_loss:.4f}")


def summarize_file(file: FileRecord) -> Facts:
    """Path and size."""
    return Facts(file.path, f"{file.size / 1e6:.1f} MB")


def summarize_baselines(baselines: Baselines) -> Facts:
    """Errors of the PCAs, and the entropy floor."""
    errors = (f"PCA-{pca.components} error {pca.mse:.4f}" for pca in baselines.pca)
    return Facts(", ".join(errors), f"entropy floor {baselines.pixels.entropy_floor:.4f}")


def summarize_metrics(metrics: Metrics) -> Facts:
    """Error, what the codes are worth, and in how many directions they spread."""
    dimensions = f"{metrics.effective_dimension:.1f} of {metrics.code_size} dimensions"
    text = f"error {metrics.reconstruction_mse:.4f}, {dimensions}"
    if metrics.probes is None:
        return Facts(text)
    return Facts(text, f"neighbours {metrics.probes.nearest_5:.1%}")


def summarize_figures(figures: tuple[FigureRecord, ...]) -> Facts:
    """How many they are."""
    return Facts(number=f"{len(figures)} figures")


def summarize_outcome(outcome: Outcome) -> Facts:
    """What became of a run."""
    return Facts(number=outcome.kind)


def summarize_copy(copied: Copied | None) -> Facts:
    """What readers of the store get."""
    if copied is None:
        return Facts("nothing is published")
    run = short_name(copied.run)
    if copied.is_own:
        return Facts(f"{copied.address} has run {run}")
    return Facts(f"{copied.address} has run {run}, which was published later elsewhere")


def summarize_restored(run: str | None) -> Facts:
    """Which run was fetched."""
    return Facts(f"run {short_name(run)}" if run else "")


def summarize_earlier(outcome: Outcome | None) -> Facts:
    """What became of a run if it is over already."""
    return summarize_outcome(outcome) if outcome else Facts()
