"""The metrics that a report shows: where they come from, how they are written."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from tasks.evaluation.records import Metrics
from tasks.runs.manifest import Manifest


class Metric(NamedTuple):
    """A row of the table of metrics; the templates say what it means."""

    name: str
    format: str
    model_field: str
    """Field of `Metrics`, dotted where nested."""
    pca_field: str = ""
    """Field of `PcaScores`; empty where a PCA has no such metric."""
    pixels_field: str = ""
    """Field of `PixelBaselines`."""


METRICS = (
    # What the codes are worth to their readers, then reconstructions, then the units.
    Metric("accuracy: five nearest neighbours", ".2%", *["probes.nearest_5"] * 3),
    Metric("accuracy: nearest neighbour", ".2%", *["probes.nearest_1"] * 3),
    Metric("accuracy: linear probe", ".2%", *["probes.linear"] * 3),
    Metric("five nearest neighbours among old codes", ".2%", "kept_basis.probes.nearest_5"),
    Metric("nearest neighbour among old codes", ".2%", "kept_basis.probes.nearest_1"),
    Metric("own old code is nearest", ".2%", "kept_basis.own_nearest"),
    Metric("mean distance to own old code", ".2f", "kept_basis.mean_distance"),
    Metric("effective dimension", ".1f", "effective_dimension"),
    Metric("cross-entropy per pixel (nats)", ".4f", "validation_loss"),
    Metric("above the entropy floor (nats)", ".4f", "excess_loss"),
    Metric("mean squared error", ".5f", "reconstruction_mse", "mse"),
    Metric("peak signal-to-noise ratio (dB)", ".2f", "psnr", "psnr"),
    Metric("structural similarity", ".3f", "ssim", "ssim"),
    Metric("live code units", "d", "live_units"),
    Metric("mean unit activity", ".1%", "activity"),
    Metric("mean correlation between units", ".2f", "correlation"),
)
ONE_DIRECTION = 0.6
"""Share of the variance along one line from which on a note warns of it."""


def read_field(record: BaseModel, path: str) -> float | None:
    """The number at a dotted path; none where the path is empty or a record on it is missing."""
    value: Any = record if path else None
    for name in path.split(".") if path else ():
        value = None if value is None else getattr(value, name)
    return value  # type: ignore[no-any-return]


def describe_worth(metrics: Metrics) -> str:
    """What a model's codes are worth to their readers, in a few words."""
    accuracy = f"five nearest neighbours {metrics.probes.nearest_5:.1%}, " if metrics.probes else ""
    return f"{accuracy}effective dimension {metrics.effective_dimension:.1f} of {metrics.code_size}"


def find_notes(manifest: Manifest) -> Iterator[str]:
    """Sentences on models whose codes lie almost along one line."""
    for name, metrics in manifest.metrics.items():
        # (Σ v)² / Σ v² = d implies that the largest share v / Σ v is at least 1 / d.
        share = 1 / metrics.effective_dimension if metrics.effective_dimension else 0.0
        if metrics.code_size == 1 or share < ONE_DIRECTION:
            continue
        note = (
            f"The {name} model's code is almost one direction: at least {share:.0%} of its "
            "variance lies along one line (effective dimension "
            f"{metrics.effective_dimension:.1f} of {metrics.code_size}, mean correlation between "
            f"units {metrics.correlation:.2f}), so distances between codes say little about the "
            "other directions"
        )
        pca = manifest.baselines.pca_of(metrics.code_size)
        if metrics.probes and pca.probes:
            note += (
                f": the nearest neighbour has the right class for {metrics.probes.nearest_1:.1%} "
                f"of the test images, in PCA-{metrics.code_size} for {pca.probes.nearest_1:.1%}"
            )
        yield f"{note}."
