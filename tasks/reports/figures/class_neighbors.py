"""Which classes lie together in a code: the classes of the nearest training images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.codes.search import search_nearest
from tasks.evaluation.probes import NEIGHBORS
from tasks.reports.figures.style import Array, new_figure, plain

SHOWN_CLASSES = 20
"""Classes in the chart, at most: those whose images have the fewest neighbours of their own."""
CELL, LEAST_SIDE = 0.6, 3.0
"""Inches of a side of a cell, and of the table, at least."""


class ClassNeighbors(NamedTuple):
    """The classes among the nearest training images."""

    labels: Array
    """(classes,) rising: all classes of test and training images."""
    shares: Array
    """(classes, classes) of a row's test images' neighbours; a row without images is not a
    number."""

    @property
    def hardest(self) -> Array:
        """Rows with images, those with the fewest neighbours of their own class first."""
        own = self.shares.diagonal()
        return np.argsort(own, kind="stable")[: np.isfinite(own).sum()]  # the others come last


def count_neighbors(
    train: Array, train_labels: Array, test: Array, test_labels: Array
) -> ClassNeighbors:
    """Count the classes of the nearest training images, by class of the test image.

    Args:
        train: (M, code_size) codes.
        train_labels: (M,).
        test: (N, code_size) codes.
        test_labels: (N,).
    """
    found = train_labels[search_nearest(train, test, NEIGHBORS).rows]  # (N, neighbours)
    labels = np.union1d(train_labels, test_labels)
    shares = np.zeros((len(labels), len(labels)), np.float32)  # 400 MB for 10,000 classes
    rows = np.repeat(np.searchsorted(labels, test_labels), found.shape[1])
    np.add.at(shares, (rows, np.searchsorted(labels, found).ravel()), 1)
    with np.errstate(invalid="ignore"):  # a class without test images
        shares /= shares.sum(axis=1, keepdims=True)
    return ClassNeighbors(labels, shares)


def draw_class_neighbors(
    model: str, neighbors: ClassNeighbors, names: dict[int, str], path: Path
) -> None:
    """Draw the shares as a table with colours.

    Args:
        names: of the classes, by label.
    """
    shown = np.sort(neighbors.hardest[:SHOWN_CLASSES])
    shares = 100 * neighbors.shares[np.ix_(shown, shown)]
    side = max(CELL * len(shown), LEAST_SIDE)
    with new_figure((side, side), path, names=names.values()) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:  # the others would be zeros
                color = "white" if share > 60 else "black"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color)
        ticks = np.arange(len(shown)), [plain(names[neighbors.labels[row]]) for row in shown]
        axes.set_yticks(*ticks)
        axes.set_xticks(*ticks, rotation="vertical")
        axes.set(xlabel="class of the neighbours", ylabel="class of the test image")
        title = f"{plain(model)}: classes of the {NEIGHBORS} nearest training images"
        axes.set_title(title, fontsize=13)
        axes.grid(visible=False)
        bar = axes.inset_axes((1.05, 0.1, 0.04, 0.8))
        figure.colorbar(image, cax=bar, label="neighbours (%)")
