"""Rivals: the best published losses that a run is compared with, or why a model has none."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.manifest import BestLoss, Manifest, RunRecord, short_name

NO_RUN = "Losses not compared: no run was published before"
ALL_RETIRED = "Losses not compared: all runs that were published before are retired"
SEPARATOR = ", "
"""In the keys of best losses; those of version 0.1 have no layers."""


class Rivals(NamedTuple):
    """What the models of a run are compared with."""

    best: dict[str, BestLoss]
    """Best published losses on the same test images and scale, by `loss_key`."""
    reasons: dict[str, str]
    """Why a model has no rival, in a sentence, by its name; models that have one are left out."""


def loss_key(model: ModelRecord) -> str:
    """The key of a best loss; only losses of models with the same key are compared.

    The name is part of it: two models of one run may differ in their activation alone.
    """
    return f"{_short_key(model)}{SEPARATOR}{model.layers}"


def _short_key(model: ModelRecord) -> str:
    """The key of a best loss in manifests of version 0.1, which did not compare layers."""
    return f"{model.name}-{model.spec.architecture.code_size}"


def find_rivals(
    dataset: DatasetRecord,
    models: Iterable[ModelRecord],
    runs: list[Manifest],
    retired: Collection[str] = (),
) -> Rivals:
    """The rivals of a run's models among published runs.

    Args:
        dataset: of the run.
        models: of the run.
        runs: ever published, oldest first.
        retired: names of runs that a person retired as rivals.
    """
    best = find_best_losses(dataset, runs, retired)
    missing = [model for model in models if loss_key(model) not in best]
    counted = [run for run in runs if run.run not in retired]
    if runs and not counted:
        return Rivals(best, dict.fromkeys((model.name for model in missing), ALL_RETIRED))
    return Rivals(best, {model.name: _explain(model, dataset, counted) for model in missing})


def find_best_losses(
    dataset: DatasetRecord, runs: list[Manifest], retired: Collection[str] = ()
) -> dict[str, BestLoss]:
    """The best loss of each `loss_key` on the same test images and scale.

    Losses of runs that were published although a check failed do not count.

    Args:
        runs: ever published; their manifests carry the best losses of earlier runs, so deleted ones
            still count. Those of version 0.1 do not: nothing says which layers they had.
    """
    comparable = [run for run in runs if not list(_dataset_differences(run.dataset, dataset))]
    keys = {(run.run, _short_key(model)): loss_key(model) for run in runs for model in run.models}
    own = (list_losses(run) for run in comparable if run.verdict.passed)
    carried = (
        {keys.get((loss.run, key), key): loss for key, loss in run.best_losses.items()}
        for run in comparable
    )
    counted = (
        {key: loss for key, loss in losses.items() if SEPARATOR in key and loss.run not in retired}
        for losses in (*own, *carried)
    )
    return merge_best(counted)


def merge_best(candidates: Iterable[dict[str, BestLoss]]) -> dict[str, BestLoss]:
    """The smallest loss of each key."""
    best: dict[str, BestLoss] = {}
    for losses in candidates:
        for key, loss in losses.items():
            if key not in best or loss.validation_loss < best[key].validation_loss:
                best[key] = loss
    return best


def list_losses(run: RunRecord) -> dict[str, BestLoss]:
    """The losses of a run, by `loss_key`."""
    return {
        loss_key(model): BestLoss(
            validation_loss=run.metrics[model.name].validation_loss, run=run.run
        )
        for model in run.models
    }


def _explain(model: ModelRecord, dataset: DatasetRecord, runs: list[Manifest]) -> str:
    """Why a model has no rival: how the latest published one of its name differs."""
    if not runs:
        return NO_RUN
    for run in reversed(runs):
        for other in run.models:
            if other.name == model.name and run.verdict.passed:
                differences = ", ".join(
                    [*_dataset_differences(run.dataset, dataset), *_layer_differences(other, model)]
                )
                return (
                    f"{model.name.capitalize()} loss not compared: the latest published "
                    f"{model.name} model, of run {short_name(run.run)}, has {differences}"
                )
    return (
        f"{model.name.capitalize()} loss not compared: no {model.name} model was published before"
    )


def _dataset_differences(other: DatasetRecord, dataset: DatasetRecord) -> Iterator[str]:
    """Why losses on two datasets cannot be compared."""
    if other.payloads["test_images"] != dataset.payloads["test_images"]:
        yield "other test images"
    if other.scale != dataset.scale:
        yield f"pixels divided by {other.scale:g} instead of {dataset.scale:g}"


def _layer_differences(other: ModelRecord, model: ModelRecord) -> Iterator[str]:
    sizes = [found.spec.architecture.code_size for found in (other, model)]
    if sizes[0] != sizes[1]:
        yield f"{sizes[0]} code units instead of {sizes[1]}"
    elif other.layers != model.layers:
        yield f"the layers {other.layers} instead of {model.layers}"
