"""A map of codes: points coloured by class, each class named beside the middle of its points."""

from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from tasks.reports.style import GREY, STYLE, Array, plain, save

CLASS_COLORS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)
"""Paul Tol's muted scheme, https://personal.sron.nl/~pault/; repeated for more classes."""
NAMED_CLASSES = 20
"""Classes that are named on a map; more names would hide it."""
CLEARANCE = 4.0
"""Pixels, at 100 an inch, between two names."""
BOX = 8.0
"""Pixels by which the frame of a name is larger than its text."""
POINT_AREA = (4.0, 40.0)
"""Square points that a code's point has, at least and at most; fewer points are larger."""
ROUNDS = 500
"""After which names may still overlap, where there is no room for them."""


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
        axes.set_xlabel(f"first principal component ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"second principal component ({shares[1]:.0%})")
        axes.set_title(f"Codes of the {model} model, {len(points):,} test images")
        size = np.clip(POINT_AREA[0] * 10_000 / len(points), *POINT_AREA)
        if labels is None:
            axes.scatter(points[:, 0], points[:, 1], s=size, color=GREY, linewidths=0)
        else:
            colors = np.array(CLASS_COLORS)[labels % len(CLASS_COLORS)]
            # All classes in one call, in the order of the images: none hides another.
            axes.scatter(points[:, 0], points[:, 1], s=size, c=colors, linewidths=0)
            named = range(min(len(names), NAMED_CLASSES))
            middles = np.array([np.median(points[labels == label], axis=0) for label in named])
            _name_classes(axes, middles, names)
        save(figure, path)


def _name_classes(axes: Axes, middles: Array, names: list[str]) -> None:
    """Write the first names at the middles (classes, 2), moved apart, with a line to each."""
    texts = [_write_name(axes, middle, label, names[label]) for label, middle in enumerate(middles)]
    axes.get_figure().draw_without_rendering()  # type: ignore[union-attr]  # settles the layout
    boxes = [text.get_window_extent() for text in texts]
    sizes = np.array([(box.width, box.height) for box in boxes]) + CLEARANCE + BOX
    centres = axes.transData.transform(middles)
    moved = axes.transData.inverted().transform(move_apart(centres, sizes))
    for label, (text, middle, place) in enumerate(zip(texts, middles, moved, strict=True)):
        text.set_position(place)
        color = CLASS_COLORS[label % len(CLASS_COLORS)]
        axes.plot(*zip(middle, place, strict=True), color="white", linewidth=3.5, zorder=2.5)
        axes.plot(*zip(middle, place, strict=True), color=color, linewidth=1.5, zorder=2.6)
        axes.plot(*middle, "o", color=color, markeredgecolor="white", markersize=7, zorder=2.7)


def _write_name(axes: Axes, middle: Array, label: int, name: str) -> Text:
    color = CLASS_COLORS[label % len(CLASS_COLORS)]
    box = {"facecolor": "white", "edgecolor": color, "linewidth": 1.5, "pad": 2.5, "alpha": 0.9}
    text = axes.text(
        middle[0], middle[1], plain(name), ha="center", va="center", fontsize=11, bbox=box
    )
    text.set_in_layout(False)
    return text


def move_apart(centres: Array, sizes: Array) -> Array:
    """Move boxes up or down, in equal parts, until no two overlap.

    Args:
        centres: (n, 2) of the boxes.
        sizes: (n, 2) widths and heights.

    Returns:
        (n, 2) new centres.
    """
    moved = centres.astype(float)
    for _ in range(ROUNDS):
        clear = True
        for one, other in combinations(np.argsort(centres[:, 1], kind="stable"), 2):
            overlap = (sizes[one] + sizes[other]) / 2 - np.abs(moved[other] - moved[one])
            if (overlap > 1e-6).all():
                up = 1 if moved[other, 1] >= moved[one, 1] else -1
                moved[one, 1] -= up * overlap[1] / 2
                moved[other, 1] += up * overlap[1] / 2
                clear = False
        if clear:
            break
    return moved
