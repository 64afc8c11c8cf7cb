"""A map of codes: a point for each image, coloured by class."""

import math
from pathlib import Path

import numpy as np

from tasks.reports.figures.plotting import Axes
from tasks.reports.figures.projection import Plane
from tasks.reports.figures.style import GREY, Array, new_figure, plain

CLASS_COLORS = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777"),
)
"""Paul Tol's muted scheme, https://personal.sron.nl/~pault/; repeated for more classes."""
CLASS_MARKERS = "os^D"
"""Of the classes' medians: classes of one colour differ in their marker."""
NAMED_CLASSES = len(CLASS_COLORS) * len(CLASS_MARKERS)
"""Classes in the legend, at most."""
NAMES_PER_COLUMN = 20
SHOWN_PERCENTILES = (0.2, 99.8)
"""Of the points along an axis; others may lie outside."""
POINT_AREA = (4.0, 40.0)
"""Area of a point in square points (1/72 inch), least and most; fewer points are larger."""


def draw_map(
    model: str, plane: Plane, labels: Array | None, names: dict[int, str], worth: str, path: Path
) -> None:
    """Draw codes in a plane.

    Args:
        labels: (N,) classes; none if the images have no labels.
        names: of the classes, by label.
        worth: what the codes are worth, as the second line of the title.
    """
    points = plane.points
    named = min(len(names), NAMED_CLASSES)
    columns = math.ceil(named / NAMES_PER_COLUMN)
    with new_figure((7.7, 6.4), path, names=names.values()) as figure:
        axes = figure.subplots()
        axes.set(xlabel=plane.axes[0], ylabel=plane.axes[1])
        axes.set(xlim=_limits(points[:, 0]), ylim=_limits(points[:, 1]))
        axes.set_title(f"Codes of the {model} model, {len(points):,} test images\n{worth}")
        size = np.clip(POINT_AREA[0] * 10_000 / len(points), *POINT_AREA)
        if labels is None:
            axes.scatter(points[:, 0], points[:, 1], s=size, color=GREY, linewidths=0)
        else:
            _draw_classes(axes, points, labels, names, size)
            axes.legend(
                loc="center left",
                bbox_to_anchor=(1, 0.5),
                title="class medians" if named == len(names) else f"medians of {named} classes",
                ncols=columns,
            )


def _limits(values: Array) -> tuple[float, float]:
    """Where most points lie: a few far ones must not squeeze the others."""
    low, high = np.percentile(values, SHOWN_PERCENTILES)
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _draw_classes(
    axes: Axes, points: Array, labels: Array, names: dict[int, str], size: float
) -> None:
    """Points coloured by class; a marker with the class's name at the median of each."""
    present, positions = np.unique(labels, return_inverse=True)
    colors = np.array(CLASS_COLORS)[positions % len(CLASS_COLORS)]
    # All classes in one call, in the order of the images, so that none hides another.
    axes.scatter(points[:, 0], points[:, 1], s=size, c=colors, linewidths=0)
    for position, label in enumerate(present[:NAMED_CLASSES].tolist()):
        axes.plot(
            *np.median(points[positions == position], axis=0),
            linestyle="none",
            marker=CLASS_MARKERS[position // len(CLASS_COLORS)],
            color=CLASS_COLORS[position % len(CLASS_COLORS)],
            markersize=10,
            markeredgecolor="white",
            label=plain(names[label]),
        )
