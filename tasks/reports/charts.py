"""Diagrams: numbers in, a file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.reports.style import STYLE, Array, color_of, plain, save

MARKERS = "osD^vP"
ALIVE, DEAD = "#0072b2", "#d55e00"


class Curve(NamedTuple):
    """The losses of one training."""

    name: str
    training: list[float]
    validation: list[float]
    reference: float | None
    """A published final value to compare with."""


def draw_learning_curves(curves: list[Curve], floor: float, paths: list[Path]) -> None:
    """Training and validation loss by epoch, with published final values and the entropy floor."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        axes = figure.subplots()
        for position, curve in enumerate(curves):
            _draw_curve(axes, curve, color_of(curve.name, position))
        axes.axhline(floor, color="black", linewidth=1)
        axes.annotate(
            f"entropy floor of the test images {floor:.4f}",
            (1, floor),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel("binary cross-entropy per pixel (nats)")
        axes.set_title("Learning curves")
        axes.set_ylim(*_loss_limits(curves, floor))
        axes.set_xlim(*_epoch_limits(curves))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.legend(loc="upper right")
        for path in paths:
            save(figure, path)


def _draw_curve(axes: Axes, curve: Curve, color: str) -> None:
    epochs = np.arange(1, len(curve.validation) + 1)
    marker = "o" if len(epochs) == 1 else None  # one epoch makes no line
    axes.plot(epochs, curve.validation, color=color, marker=marker, label=f"{curve.name}, test")
    axes.plot(
        epochs,
        curve.training,
        color=color,
        marker=marker,
        markerfacecolor="white",
        linestyle=(0, (1, 1)),
        label=f"{curve.name}, training",
    )
    if curve.reference is not None:
        axes.axhline(
            curve.reference,
            color=color,
            linewidth=1,
            linestyle=(0, (6, 3)),
            label=f"{curve.name}, the lab's final {curve.reference:.4f}",
        )


def _epoch_limits(curves: list[Curve]) -> tuple[float, float]:
    """From just before the first epoch, so that the axis has no epoch zero, to the last one."""
    last = max(len(curve.validation) for curve in curves)
    margin = max(0.5, 0.02 * last)
    return max(0.1, 1 - margin), last + margin


def _loss_limits(curves: list[Curve], floor: float) -> tuple[float, float]:
    """From just below the floor to what the second epochs show; the first is off every scale."""
    later = [loss for c in curves for loss in (*c.validation[1:], *c.training[1:])]
    first = [loss for c in curves for loss in (*c.validation[:1], *c.training[:1])]
    top = max(later or first)
    margin = 0.05 * (top - floor)
    return floor - margin, top + margin


def draw_classes(names: list[str], errors: dict[str, list[float]], paths: list[Path]) -> None:
    """Mean squared error by class, one mark for each model, the hardest class on top.

    Args:
        names: of the classes.
        errors: by model, one for each class.
    """
    order = np.argsort(next(iter(errors.values())))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.6 + 0.34 * len(names)), layout="constrained")
        axes = figure.subplots()
        for position, (model, values) in enumerate(errors.items()):
            axes.plot(
                np.array(values)[order],
                np.arange(len(names)),
                linestyle="none",
                marker=MARKERS[position % len(MARKERS)],
                markersize=7,
                color=color_of(model, position),
                label=model,
            )
        axes.set_yticks(np.arange(len(names)), [plain(names[row]) for row in order])
        axes.set_xlim(left=0)
        axes.set_xlabel("mean squared error of the test images (0 to 1 scale)")
        axes.set_title("Error by class")
        axes.legend(loc="lower right")
        for path in paths:
            save(figure, path)


def draw_activity(model: str, activity: Array, alive: Array, found: Array, path: Path) -> None:
    """Which units of a code live, and how they correlate; most active first.

    Args:
        activity: (code_size,) share of the images for which a unit is not zero.
        alive: (code_size,) bool.
        found: (code_size, code_size) correlations.
    """
    order = np.argsort(-activity, kind="stable")
    colors = np.where(alive[order], ALIVE, DEAD)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        left.bar(np.arange(len(order)), activity[order] * 100, color=colors)
        left.set_ylim(0, 100)
        left.set_xlim(-0.7, len(order) - 0.3)
        left.set_xlabel("code unit, most active first")
        left.set_ylabel("test images for which it is not zero (%)")
        left.set_title(f"{model}: {alive.sum()} of {len(alive)} code units carry information")
        if not alive.all():
            dead = np.flatnonzero(~alive[order])  # whose bars may have no height
            left.plot(dead, 0 * dead, "x", color=DEAD, label="carries none", clip_on=False)
            left.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="white")
        left.grid(axis="x", visible=False)
        image = right.imshow(found[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
        right.set_title("Correlation of the units")
        right.set_xlabel("code unit, in the same order")
        right.set_ylabel("code unit, in the same order")
        right.grid(visible=False)
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        right.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        bar = figure.colorbar(image, ax=right, shrink=0.85)
        bar.set_label("Pearson correlation")
        save(figure, path)
