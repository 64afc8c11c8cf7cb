"""The contents of a report: a run's manifest as text and tables."""

import re
from typing import Any, NamedTuple

from tasks.evaluation.records import Baselines, Metrics
from tasks.evaluation.references import REFERENCES
from tasks.images import fashion_mnist
from tasks.reports.comparison import list_changes, list_differences
from tasks.reports.metrics_table import (
    HIGHER,
    METRICS,
    Metric,
    find_notes,
    make_tiles,
    read_field,
)
from tasks.runs.kept_basis import BasisAnswer, answer_bases
from tasks.runs.manifest import Manifest, short_name
from tasks.runs.rivals import loss_key

NOTHING = "-"
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
"""Beside the name of a metric: which way is better."""
NUMBER = re.compile(r"[-+]?[\d,.]+%?|" + NOTHING)


class Table(NamedTuple):
    """Text in rows; the first column names the row."""

    columns: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the cells that hold the best number of their row."""

    @property
    def numeric(self) -> list[bool]:
        """Which columns have only numbers, and are aligned to the right."""
        return [all(map(NUMBER.fullmatch, cells)) for cells in zip(*self.rows, strict=True)]


def make_sections(manifest: Manifest, other: Manifest | None) -> dict[str, Any]:
    """Everything that a template shows.

    Args:
        other: the run to compare with, if there is one.
    """
    changes = list(list_changes(manifest, other)) if other else []
    is_quick = manifest.verdict.outcome == "quick look"  # worse than any other, which says nothing
    before = other.metrics if other and not is_quick else {}
    return {
        "manifest": manifest,
        "other": other,
        "headline": _headline(manifest),
        "tiles": {
            name: make_tiles(found, manifest.baselines, before.get(name))
            for name, found in manifest.metrics.items()
        },
        "failed": [check.text for check in manifest.verdict.checks if not check.passed],
        "bases": _bases(manifest),
        "keeps_basis": any(metrics.kept_basis for metrics in manifest.metrics.values()),
        "checks": _checks(manifest),
        "rivals": _rivals(manifest),
        "metrics": _metrics(manifest),
        "notes": list(find_notes(manifest)),
        "classes": _classes(manifest),
        "references": _references(manifest),
        "changes": Table(["", "this run", "other run", "change"], changes),
        "differences": list(list_differences(manifest, other)) if other else [],
        "models": _models(manifest),
        "provenance": _provenance(manifest),
        "duration": describe_seconds((manifest.finished - manifest.started).total_seconds()),
    }


def _bases(manifest: Manifest) -> list[BasisAnswer]:
    """Whether codes that others stored stay valid, or would if the run were published."""
    answers = answer_bases(manifest, manifest.earlier_bases)
    if manifest.verdict.outcome == "published":
        return answers
    if manifest.verdict.outcome == "quick look":
        return []
    return [
        line._replace(answer=f"If it were published: {line.answer[0].lower()}{line.answer[1:]}")
        for line in answers
    ]


def describe_seconds(seconds: float) -> str:
    """A duration, in minutes from 100 seconds on."""
    if seconds < 1:
        return "<1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"


def _headline(manifest: Manifest) -> list[str]:
    return [
        f"{name}: {_worth(metrics, manifest.baselines)}; loss {metrics.validation_loss:.4f} nats "
        f"per pixel, {metrics.excess_loss:.4f} above the entropy floor; mean squared error "
        f"{metrics.reconstruction_mse:.4f} (PCA-{metrics.code_size}: {metrics.pca_mse:.4f}); "
        f"{metrics.live_units} of {metrics.code_size} code units live"
        for name, metrics in manifest.metrics.items()
    ]


def _worth(metrics: Metrics, baselines: Baselines) -> str:
    """What the codes are worth, beside PCA and the pixels."""
    pca, pixels = baselines.pca_of(metrics.code_size).probes, baselines.pixels.probes
    text = f"effective dimension {metrics.effective_dimension:.1f} of {metrics.code_size}"
    if metrics.probes and pca and pixels:
        text = (
            f"accuracy of five nearest neighbours {metrics.probes.nearest_5:.1%} "
            f"(PCA-{metrics.code_size}: {pca.nearest_5:.1%}, pixels: {pixels.nearest_5:.1%}), "
            f"{text}"
        )
    return text


def _checks(manifest: Manifest) -> Table:
    rows = [
        [check.name, "passed" if check.passed else "failed", check.text]
        for check in manifest.verdict.checks
    ]
    return Table(["check", "result", "details"], rows)


def _rivals(manifest: Manifest) -> list[str]:
    """With which run's loss that of each model was compared, and why with that."""
    rivals = manifest.verdict.rivals
    return [
        f"The {model.name} loss is compared with {rival.validation_loss:.4f} of run "
        f"{short_name(rival.run)}: the best published one of {model.name} models with the layers "
        f"{model.layers} on the same test images."
        for model in manifest.models
        if (rival := rivals.get(loss_key(model)))
    ]


def _metrics(manifest: Manifest) -> Table:
    models, baselines = manifest.metrics, manifest.baselines
    rows: list[list[str]] = []
    best: set[tuple[int, int]] = set()
    for metric in METRICS:
        values = [
            *(read_field(metrics, metric.model_field) for metrics in models.values()),
            *(read_field(pca, metric.pca_field) for pca in baselines.pca),
            read_field(baselines.pixels, metric.pixels_field),
        ]
        if any(value is not None for value in values):  # without labels there are no accuracies
            texts = [NOTHING if value is None else format(value, metric.format) for value in values]
            best |= {(len(rows), 1 + column) for column in _best_columns(metric, values, texts)}
            rows.append([f"{metric.name}{ARROWS[metric.better]}", *texts])
    columns = ["", *models, *(f"PCA-{pca.components}" for pca in baselines.pca), "pixels"]
    return Table(columns, rows, frozenset(best))


def _best_columns(metric: Metric, values: list[float | None], texts: list[str]) -> list[int]:
    """The columns with the best of at least two numbers, all that are equal in their digits."""
    known = [value for value in values if value is not None]
    if not metric.better or len(known) < 2:
        return []
    best = max(known) if metric.better == HIGHER else min(known)
    shown = format(best, metric.format)
    return [column for column, text in enumerate(texts) if text == shown]


def _classes(manifest: Manifest) -> Table | None:
    metrics = list(manifest.metrics.values())
    if not metrics[0].classes:
        return None
    columns = ["class", "images"]
    for name in manifest.metrics:
        columns += [f"{name}: above the floor (nats)", f"{name}: mean squared error"]
    rows = []
    for classes in zip(*(found.classes for found in metrics), strict=True):
        row = [manifest.dataset.class_name(classes[0].label), str(classes[0].images)]
        for entry in classes:
            row += [f"{entry.loss - entry.floor:.4f}", f"{entry.mse:.5f}"]
        rows.append(row)
    return Table(columns, rows)


def _references(manifest: Manifest) -> Table | None:
    """This run among published results, best loss first; there are some for Fashion-MNIST alone."""
    if manifest.dataset.name != fashion_mnist.NAME:
        return None
    entries = [
        (f"this run, {name}", metrics.code_size, metrics.validation_loss, "this report")
        for name, metrics in manifest.metrics.items()
    ]
    rows = [
        [model, str(code_size), f"{loss:.4f}", source]
        for model, code_size, loss, source in sorted([*entries, *REFERENCES], key=lambda e: e[2])
    ]
    return Table(["model", "code size", "loss (nats per pixel)", "source"], rows)


def _models(manifest: Manifest) -> Table:
    columns = ["model", "layers", "epochs", "seed", "parameters", "trained in", "fingerprint"]
    rows = [
        [
            model.name,
            model.layers,
            str(model.spec.recipe.epochs),
            str(model.spec.seed),
            f"{model.parameters:,}",
            f"{describe_seconds(model.seconds)} on a {model.device.upper()}",
            model.fingerprint,
        ]
        for model in manifest.models
    ]
    return Table(columns, rows)


def _provenance(manifest: Manifest) -> list[tuple[str, str]]:
    dataset = manifest.dataset
    versions = ", ".join(f"{name} {text}" for name, text in manifest.versions.model_dump().items())
    return [
        ("run", manifest.run),
        ("started", f"{manifest.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("finished", f"{manifest.finished:%Y-%m-%d %H:%M:%S} UTC"),
        ("dataset", dataset.name),
        ("training images", f"{dataset.rows['train']:,}"),
        ("test images", f"{dataset.rows['test']:,}"),
        ("test images that are also training images", f"{dataset.duplicates:,}"),
        ("shape", f"{' x '.join(map(str, dataset.image_shape))}, {dataset.dtype}"),
        ("source", dataset.source),
        ("SHA-256 of the images", dataset.payload_sha256),
        ("versions", versions),
    ]
