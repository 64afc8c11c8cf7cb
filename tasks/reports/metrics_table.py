"""The metrics that a report shows: where they come from, how they are written, which is better."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from tasks.evaluation.records import Baselines, Metrics
from tasks.runs.manifest import Manifest

Better = Literal["higher", "lower"]
HIGHER: Literal["higher"] = "higher"
LOWER: Literal["lower"] = "lower"


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
    better: Better | Literal[""] = ""
    """Empty where neither is."""


def _accuracy(name: str, field: str) -> Metric:
    """Of classifiers on codes, on a PCA and on pixels."""
    return Metric(name, ".2%", field, field, field, HIGHER)


METRICS = (
    # What the codes are worth to their readers, then reconstructions, then the units.
    _accuracy("accuracy: five nearest neighbours", "probes.nearest_5"),
    _accuracy("accuracy: nearest neighbour", "probes.nearest_1"),
    _accuracy("accuracy: linear probe", "probes.linear"),
    Metric(
        "five nearest neighbours among old codes",
        ".2%",
        "kept_basis.probes.nearest_5",
        better=HIGHER,
    ),
    Metric(
        "nearest neighbour among old codes", ".2%", "kept_basis.probes.nearest_1", better=HIGHER
    ),
    Metric("own old code is nearest", ".2%", "kept_basis.own_nearest", better=HIGHER),
    Metric("mean distance to own old code", ".2f", "kept_basis.mean_distance", better=LOWER),
    Metric("effective dimension", ".1f", "effective_dimension", better=HIGHER),
    Metric("loss (nats per pixel)", ".4f", "validation_loss", better=LOWER),
    Metric("loss above the entropy floor", ".4f", "excess_loss", better=LOWER),
    Metric("mean squared error", ".5f", "reconstruction_mse", "mse", better=LOWER),
    Metric("peak signal-to-noise ratio (dB)", ".2f", "psnr", "psnr", better=HIGHER),
    Metric("structural similarity", ".3f", "ssim", "ssim", better=HIGHER),
    Metric("live code units", "d", "live_units", better=HIGHER),
    Metric("mean unit activity", ".1%", "activity"),
    Metric("mean correlation between units", ".2f", "correlation", better=LOWER),
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


class Tile(NamedTuple):
    """One number of a model on the first screen of a report, and how it compares."""

    name: str
    value: str
    comparisons: tuple["Comparison", ...]


class Comparison(NamedTuple):
    """A number beside that of PCA or of the published run."""

    text: str
    better: bool | None
    """None where both are equal, or neither is better."""


def make_tiles(metrics: Metrics, baselines: Baselines, other: Metrics | None) -> list[Tile]:
    """The four numbers that tell most about a model; three where images have no labels.

    Args:
        other: of the model of that name in the run to compare with, if it has one.
    """
    pca, name = baselines.pca_of(metrics.code_size), f"PCA-{metrics.code_size}"

    def tile(
        title: str, value: str, field: str, form: str, better: Better, *others: Comparison
    ) -> Tile:
        return Tile(title, value, (*others, *_versus(field, form, better, metrics, other)))

    loss, error = metrics.validation_loss, metrics.reconstruction_mse
    floor = Comparison(f"{metrics.excess_loss:.4f} above the entropy floor", None)
    tiles = [tile("loss (nats per pixel)", f"{loss:.4f}", "validation_loss", ".4f", LOWER, floor)]
    if metrics.probes and pca.probes:
        field, found = "probes.nearest_5", metrics.probes.nearest_5
        by_pca = compare(found, pca.probes.nearest_5, ".1%", HIGHER, name)
        tiles.append(tile("five nearest neighbours", f"{found:.1%}", field, ".1%", HIGHER, by_pca))
    by_pca = compare(error, metrics.pca_mse, ".4f", LOWER, name)
    field, value = "reconstruction_mse", f"{error:.4f}"
    tiles.append(tile("mean squared error", value, field, ".4f", LOWER, by_pca))
    value = f"{metrics.effective_dimension:.1f} of {metrics.code_size}"
    tiles.append(tile("effective dimension", value, "effective_dimension", ".1f", HIGHER))
    return tiles


def _versus(
    field: str, form: str, better: Better, now: Metrics, other: Metrics | None
) -> tuple[Comparison, ...]:
    """A number beside that of the run to compare with."""
    before = read_field(other, field) if other else None
    value = read_field(now, field)
    if before is None or value is None:
        return ()
    return (compare(value, before, form, better, "the run before"),)


def compare(value: float, reference: float, form: str, better: Better, name: str) -> Comparison:
    """By how much a number is better or worse than another, in the digits shown.

    Args:
        form: how both are written; the difference of two shares is in percentage points.
        name: of the other.
    """
    unit = " points" if form.endswith("%") else ""
    scale, digits = (100, f"{form[:-1]}f") if unit else (1, form)
    size = format(abs(scale * (value - reference)), digits)
    if float(size) == 0:
        return Comparison(f"equal to {name}", None)
    is_better = (value > reference) == (better == HIGHER)
    return Comparison(f"{size}{unit} {'better' if is_better else 'worse'} than {name}", is_better)
