"""Charts: numbers in, a file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.codes.units import LEAST_SPREAD, activity, live_units
from tasks.core.records import EpochRecord
from tasks.evaluation.metrics import correlations, principal_spreads
from tasks.images.rows import spaced_rows
from tasks.reports.colors import color_of
from tasks.reports.figures.plotting import Axes, MaxNLocator
from tasks.reports.figures.style import Array, new_figure, plain

MARKERS = "osD^vP"
UNITS_LABEL = "code unit, most active first"
VALUES = 10_000
"""Codes whose values are counted, at most: of more, some at equal distances."""
DEAD = "#cc79a7"
SHARED = ((0.1, "almost nothing"), (0.3, "little"), (0.5, "much"), (1.0, "most"))
"""In words, up to which mean correlation."""
LABEL_HEIGHT = 0.055
"""Of a label at a line's end, in heights of the axes."""


Histories = dict[str, tuple[EpochRecord, ...]]
"""The epochs of trainings, by model."""


def draw_learning_curves(
    histories: Histories, references: dict[str, float], floor: float, paths: list[Path]
) -> None:
    """Training and validation loss by epoch, with the notebook's losses and the entropy floor.

    Args:
        references: final validation losses of the reference notebook, by model.
        floor: entropy floor of the test images; all losses are in nats per pixel.
    """
    with new_figure((7.1, 4.7), *paths) as figure:
        axes = figure.subplots()
        ends: list[LineEnd] = []
        for position, (model, history) in enumerate(histories.items()):
            ends += _draw_curve(
                axes, model, history, references.get(model), color_of(model, position)
            )
        axes.set(xlabel="epoch", ylabel="loss (nats per pixel)")
        last = max(map(len, histories.values()))
        limits = _loss_limits(histories, references)
        axes.set(xlim=(0.5, last + 0.5), ylim=limits)  # no tick at epoch zero
        _label_ends(axes, ends, limits)
        axes.annotate(
            f"entropy floor {floor:.4f}, below",
            xy=(0.01, 0.0),
            xytext=(0.01, 0.08),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "->"},
        )
        axes.set_title("Learning curves (solid: test images, dotted: training images)")
        axes.xaxis.set_major_locator(_integer_ticks())


class LineEnd(NamedTuple):
    """A label at the right of a line."""

    value: float
    text: str
    color: str


def _draw_curve(
    axes: Axes, model: str, history: tuple[EpochRecord, ...], reference: float | None, color: str
) -> list[LineEnd]:
    """Draw a model's lines; return the labels that they need."""
    epochs, name = np.arange(1, len(history) + 1), plain(model)
    marker = "o" if len(epochs) == 1 else None  # one point makes no line
    validation = [epoch.validation_loss for epoch in history]
    axes.plot(epochs, validation, color=color, marker=marker)
    ends = [LineEnd(validation[-1], f"{name} {validation[-1]:.4f}", color)]
    axes.plot(
        epochs,
        [epoch.loss for epoch in history],
        color=color,
        marker=marker,
        markerfacecolor="white",
        linestyle=(0, (1, 1)),
    )
    if reference is not None:
        axes.axhline(reference, color=color, linewidth=1, linestyle=(0, (6, 3)))
        ends.append(LineEnd(reference, f"{name}, reference notebook {reference:.4f}", color))
    return ends


def _label_ends(axes: Axes, ends: list[LineEnd], limits: tuple[float, float]) -> None:
    """Write the labels at the right, as near to their lines as they do not overlap."""
    gap = LABEL_HEIGHT * (limits[1] - limits[0])
    low = limits[0]
    for end in sorted(ends):
        low = max(low, end.value)
        axes.annotate(
            end.text,
            xy=(1.0, end.value),
            xytext=(1.02, low),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=end.color,
            va="center",
            annotation_clip=False,
        )
        low += gap


def _loss_limits(histories: Histories, references: dict[str, float]) -> tuple[float, float]:
    """The losses from the second epoch on, and the references: those of the first are far above."""
    later = [epoch for history in histories.values() for epoch in history[1:]]
    first = [history[0] for history in histories.values()]
    shown = [loss for epoch in later or first for loss in (epoch.loss, epoch.validation_loss)]
    shown += [references[model] for model in histories if model in references]
    margin = max(0.08 * (max(shown) - min(shown)), 1e-4)
    return min(shown) - margin, max(shown) + margin


def draw_classes(names: list[str], errors: dict[str, list[float]], paths: list[Path]) -> None:
    """Mean squared error by class, one marker for each model, the hardest class on top.

    Args:
        names: of the classes.
        errors: by model, one for each class.
    """
    order = np.argsort(next(iter(errors.values())))
    with new_figure((6.5, 0.8 + 0.34 * len(names)), *paths, names=names) as figure:
        axes = figure.subplots()
        every = np.array(list(errors.values()))[:, order]
        axes.hlines(np.arange(len(names)), every.min(axis=0), every.max(axis=0), color="0.75")
        for position, (model, values) in enumerate(errors.items()):
            axes.plot(
                np.array(values)[order],
                np.arange(len(names)),
                linestyle="none",
                marker=MARKERS[position % len(MARKERS)],
                markersize=7,
                color=color_of(model, position),
                label=plain(model),
            )
        axes.set_yticks(np.arange(len(names)), [plain(names[row]) for row in order])
        axes.set_xlim(0, 1.05 * max(map(max, errors.values())) or 1)
        axes.set_xlabel("mean squared error of the test images (0 to 1 scale)")
        axes.set_title("Error by class")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def draw_units(model: str, codes: Array, worth: str, path: Path) -> None:
    """What the units of a code hold: values, standard deviations and correlations.

    The standard deviations along the principal axes stand beside those of the units: what both
    differ in is what the units share.

    Args:
        codes: (N, code_size), not negative.
        worth: what the code is worth, written above all.
    """
    alive, color = live_units(codes), color_of(model, 0)
    order = np.argsort(-activity(codes), kind="stable")
    related = correlations(codes)
    with new_figure((12.8, 3.9), path) as figure:
        figure.suptitle(f"{plain(model)}: {worth}", x=0, y=1.1, ha="left", va="bottom")
        left, middle, right = figure.subplots(
            1, 3, width_ratios=(1.15, 1, 1.15), gridspec_kw={"wspace": 0.15}
        )
        _draw_values(left, codes[:, order], alive[order], color)
        left.set_title(f"{alive.sum()} of {len(alive)} code units carry information")
        _draw_spreads(middle, codes, alive, color)
        image = right.imshow(related[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
        right.set_title(_describe_correlations(related[np.ix_(alive, alive)]))
        right.set(xlabel=UNITS_LABEL, ylabel=UNITS_LABEL)
        right.grid(visible=False)
        right.yaxis.set_major_locator(_integer_ticks())
        for axes in (left, middle, right):
            axes.xaxis.set_major_locator(_integer_ticks())
        bar = right.inset_axes((1.05, 0.1, 0.04, 0.8))
        figure.colorbar(image, cax=bar, label="Pearson correlation")
        figure.legend(
            loc="upper left", bbox_to_anchor=(0, -0.13), ncols=7, fontsize=10, columnspacing=1.2
        )


def _describe_correlations(related: Array) -> str:
    """What the correlations between live units, (units, units), say."""
    if len(related) < 2:
        return "Correlation between units"
    mean = float(np.abs(related[~np.eye(len(related), dtype=bool)]).mean())
    shared = next(word for limit, word in SHARED if mean <= limit)
    return f"Units share {shared} (mean correlation {mean:.2f})"


def _draw_values(axes: Axes, codes: Array, alive: Array, color: str) -> None:
    """For each unit a thin bar for 98 % of the values, a thick one for half of them."""
    sample = codes[spaced_rows(len(codes), VALUES)]
    low, first, median, third, high = np.percentile(sample, (1, 25, 50, 75, 99), axis=0)
    units, colors = np.arange(len(alive)), np.where(alive, color, DEAD)
    axes.bar(units, high - low, 0.2, bottom=low, color=colors)
    axes.bar(units, third - first, 0.7, bottom=first, color=colors)
    axes.plot(units, median, "_", color="black", markersize=5)
    if not alive.all():
        dead = np.flatnonzero(~alive)
        axes.plot(dead, 0 * dead, "x", color=DEAD, label="carries no information", clip_on=False)
    axes.set(xlabel=UNITS_LABEL, ylabel="values: 98% (thin), half (thick), median")
    axes.set_xlim(-0.7, len(alive) - 0.3)
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", visible=False)


def _draw_spreads(axes: Axes, codes: Array, alive: Array, color: str) -> None:
    """A bar for each unit, a point for each principal axis, and the least of a live unit."""
    spreads = codes.std(axis=0, dtype=np.float64)
    order = np.argsort(-spreads, kind="stable")
    ranks, sorted_spreads, live = np.arange(len(order)), spreads[order], alive[order]
    axes.bar(ranks[live], sorted_spreads[live], color=color, label="standard deviation of a unit")
    axes.bar(ranks[~live], sorted_spreads[~live], color=DEAD)  # may be rarely active, but strongly
    axes.plot(
        ranks,
        principal_spreads(codes),
        "o-",
        color="black",
        markersize=3,
        label="along a principal axis",
    )
    limit = LEAST_SPREAD * float(np.median(spreads))
    axes.axhline(limit, color=DEAD, linestyle="--", label=f"least of a live unit, {limit:.2g}")
    axes.set(xlabel="unit or principal axis, largest first", xlim=(-0.7, len(spreads) - 0.3))
    axes.set_title("Standard deviations")
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", visible=False)


def _integer_ticks() -> MaxNLocator:
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
