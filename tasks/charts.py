"""Diagrams: numbers in, a file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.figures import GREY, STYLE, Array, color_of, save

CLASS_COLORS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)
"""Paul Tol's muted scheme, https://personal.sron.nl/~pault/; repeated for more classes."""
MARKERS = "osD^vP"
NAMED_CLASSES = 20
"""Classes that are named on a map; more names would hide it."""


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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
        axes.set_yticks(np.arange(len(names)), [_plain(names[row]) for row in order])
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
    colors = np.where(alive[order], "#0072b2", "#d55e00")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        left.bar(np.arange(len(order)), activity[order] * 100, color=colors)
        left.set_ylim(0, 100)
        left.set_xlim(-0.7, len(order) - 0.3)
        left.set_xlabel("code unit, most active first")
        left.set_ylabel("test images for which it is not zero (%)")
        left.set_title(f"{model}: {alive.sum()} of {len(alive)} code units carry information")
        if not alive.all():
            dead = left.patches[int(np.flatnonzero(~alive[order])[0])]
            left.legend([dead], ["carries none"], loc="lower left")
        left.grid(axis="x", visible=False)
        image = right.imshow(found[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
        right.set_title("Correlation of the units")
        right.set_xlabel("code unit, most active first")
        right.grid(visible=False)
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.yaxis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, ax=right, shrink=0.85)
        save(figure, path)


def draw_map(
    model: str, points: Array, shares: Array, names: list[str], path: Path, labels: Array | None
) -> None:
    """The codes on the plane of their two directions of largest variance, coloured by class.

    Args:
        points: (N, 2).
        shares: (2,) of the variance.
        names: of the classes.
        labels: (N,) positions in `names`; none if the images have no labels.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 7.5), layout="constrained")
        axes = figure.subplots()
        if labels is None:
            axes.scatter(points[:, 0], points[:, 1], s=3, color=GREY, linewidths=0)
        else:
            colors = np.array(CLASS_COLORS)[labels % len(CLASS_COLORS)]
            # All classes in one call, in the order of the images: none hides another.
            axes.scatter(points[:, 0], points[:, 1], s=4, c=colors, linewidths=0)
            for label, name in enumerate(names[:NAMED_CLASSES]):
                _name_class(axes, np.median(points[labels == label], axis=0), label, name)
        axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"second principal component ({shares[1]:.0%})")
        axes.set_title(f"Codes of the {model} model, {len(points):,} test images")
        save(figure, path)


def _name_class(axes: Axes, centre: Array, label: int, name: str) -> None:
    color = CLASS_COLORS[label % len(CLASS_COLORS)]
    box = {"facecolor": "white", "edgecolor": color, "linewidth": 1.5, "pad": 2.5, "alpha": 0.9}
    axes.text(centre[0], centre[1], _plain(name), ha="center", va="center", fontsize=10, bbox=box)


def _plain(name: str) -> str:
    """A name as it is: Matplotlib would read dollar signs as mathematics."""
    return name.replace("$", r"\$")
