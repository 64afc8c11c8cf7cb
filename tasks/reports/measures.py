"""The metrics that a report shows: what each is called, means, and how it is written."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from tasks.core.records import Metrics
from tasks.runs.manifest import Manifest


class Measure(NamedTuple):
    """One row of the table of metrics: how to read it from a model, a PCA, the pixels."""

    name: str
    form: str
    meaning: str
    of_model: Callable[[Metrics], float | None]
    of_pca: str = ""
    of_pixels: str = ""


def _probe_measure(name: str, title: str, meaning: str) -> Measure:
    def of_model(found: Metrics) -> float | None:
        return getattr(found.probes, name, None)

    return Measure(f"accuracy: {title}", ".2%", meaning, of_model, f"probes.{name}", name)


MEASURES = (
    Measure(
        "cross-entropy per pixel (nats)",
        ".4f",
        "the loss: mean of -t log p - (1 - t) log(1 - p) over pixels t and restored pixels p",
        lambda found: found.validation_loss,
    ),
    Measure(
        "above the entropy floor (nats)",
        ".4f",
        "the loss less its value for p = t, which nothing can beat",
        lambda found: found.excess_loss,
    ),
    Measure(
        "mean squared error",
        ".5f",
        "mean of (p - t)² over images and pixels",
        lambda found: found.reconstruction_mse,
        "mse",
    ),
    Measure(
        "peak signal to noise (dB)",
        ".2f",
        "mean over images of -10 log₁₀ of its mean squared error; more is better",
        lambda found: found.psnr,
        "psnr",
    ),
    Measure(
        "structural similarity",
        ".3f",
        "mean over images of SSIM with a Gaussian window; 1 is perfect",
        lambda found: found.ssim,
        "ssim",
    ),
    Measure(
        "live code units",
        "d",
        "units above zero for at least 1 % of the images, but not all, whose standard deviation is "
        "at least 1 % of the median unit's",
        lambda found: found.live_units,
    ),
    Measure(
        "activity of a unit",
        ".1%",
        "share of the images for which a unit is not zero, mean over the units",
        lambda found: found.activity,
    ),
    Measure(
        "correlation of two units",
        ".2f",
        "mean size of Pearson's correlation over pairs of live units; 0 where they share nothing",
        lambda found: found.correlation,
    ),
    Measure(
        "effective dimension",
        ".1f",
        "(Σ v)² / Σ v² over the variances v along the codes' principal axes: the number of "
        "directions, if they spread equally",
        lambda found: found.effective_dimension,
    ),
    _probe_measure(
        "linear", "linear probe", "right answers of a ridge regression on the classes, closed form"
    ),
    _probe_measure("nearest_1", "nearest neighbour", "the class of the nearest training image"),
    _probe_measure(
        "nearest_5", "five nearest neighbours", "the class of most of the five nearest ones"
    ),
)
ONE_DIRECTION = 0.6
"""A code with at least this share of its variance along one line is almost one direction."""


def find_notes(manifest: Manifest) -> Iterator[str]:
    """What the numbers say that is easily missed, in sentences."""
    for name, found in manifest.metrics.items():
        # (Σ v)² / Σ v² = d means that the largest share v / Σ v is at least 1 / d.
        share = 1 / found.effective_dimension if found.effective_dimension else 0.0
        if found.code_size == 1 or share < ONE_DIRECTION:
            continue
        yield (
            f"The {name} model's code is almost one direction: at least {share:.0%} of its "
            f"variance lies along one line (effective dimension {found.effective_dimension:.1f} of "
            f"{found.code_size}, mean correlation of two units {found.correlation:.2f}), so "
            f"distances between codes tell little of the rest"
            f"{_compare_neighbours(manifest, found)}."
        )


def _compare_neighbours(manifest: Manifest, found: Metrics) -> str:
    pca = manifest.baselines.pca_of(found.code_size)
    if found.probes is None or pca.probes is None:
        return ""
    return (
        f": the nearest neighbour has the right class for {found.probes.nearest_1:.1%} of the test "
        f"images, in PCA-{found.code_size} for {pca.probes.nearest_1:.1%}"
    )


def follow(record: BaseModel | None, path: str) -> float | None:
    """The number at a dotted path; none where the path is empty or leads nowhere."""
    found: Any = record if path else None
    for name in path.split(".") if path else ():
        found = getattr(found, name, None)
    return found  # type: ignore[no-any-return]


def format_change(change: float, form: str) -> str:
    """A difference with its sign; of two shares, in percentage points."""
    if form.endswith("%"):
        return f"{100 * change:+{form[:-1]}f} points"
    return format(change, f"+{form}")
