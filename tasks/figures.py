"""Drawing only: arrays in, a picture file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tasks.storage import atomic_file

Array = NDArray[Any]

STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "autoencoder-flow",  # otherwise the ids in an SVG are random
}
COLORS = {"shallow": "#0072b2", "deep": "#d55e00"}
"""Okabe and Ito's blue and vermilion, told apart with every kind of colour vision."""
GREY = "0.35"


class ShownImages(NamedTuple):
    """Some images and what a model makes of them."""

    originals: Array
    """(n, height, width) in 0..1."""
    codes: Array
    """(n, code_size)."""
    reconstructions: Array
    """(n, height, width) in 0..1."""
    losses: Array
    """(n,) binary cross-entropy per pixel, in nats."""


class Curve(NamedTuple):
    """The losses of one training."""

    name: str
    training: list[float]
    validation: list[float]
    reference: float | None
    """A published final value to compare with."""


def _save(figure: Figure, path: Path) -> None:
    # The library's version and the date would change the bytes.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with atomic_file(path) as partial:
        figure.savefig(partial, metadata=metadata)


def tile_shape(code_size: int) -> tuple[int, int]:
    """Rows and columns of the tile that shows a code: as near to 2:1 as divides; 8 x 4 for 32."""
    columns = [n for n in range(1, code_size + 1) if code_size % n == 0]
    best = min(columns, key=lambda n: abs(np.log(code_size / n / n / 2)))
    return code_size // best, best


def _show(axes: Axes, image: Array, vmin: float | None = None, vmax: float | None = None) -> None:
    axes.imshow(image, cmap="gray", vmin=vmin, vmax=vmax)
    axes.set_axis_off()


def draw_lab_figure(images: ShownImages, path: Path) -> None:
    """Three rows: the originals, their codes as tiles, the reconstructions; as in the lab."""
    count, code_size = images.codes.shape
    figure = Figure(figsize=(18, 4), layout="constrained")
    grid = figure.subplots(3, count)
    for column in range(count):
        _show(grid[0, column], images.originals[column], vmin=0, vmax=1)
        _show(grid[1, column], images.codes[column].reshape(tile_shape(code_size)))
        _show(grid[2, column], images.reconstructions[column], vmin=0, vmax=1)
    _save(figure, path)


def draw_comparison(models: dict[str, ShownImages], path: Path) -> None:
    """Originals above each model's reconstructions, with the loss of each reconstruction."""
    originals = next(iter(models.values())).originals
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 1.75 * (len(models) + 1)), layout="constrained")
        grid = figure.subplots(len(models) + 1, len(originals), squeeze=False)
        _label_row(grid[0, 0], "original")
        for column, original in enumerate(originals):
            _show(grid[0, column], original, vmin=0, vmax=1)
        for row, (name, images) in enumerate(models.items(), start=1):
            _label_row(grid[row, 0], name)
            for column, loss in enumerate(images.losses):
                _show(grid[row, column], images.reconstructions[column], vmin=0, vmax=1)
                grid[row, column].set_title(f"{loss:.3f}", fontsize=10, y=-0.2, color=GREY)
        figure.suptitle(
            "Test images and their reconstructions, with the cross-entropy per pixel of each (nats)"
        )
        _save(figure, path)


def _label_row(axes: Axes, text: str) -> None:
    axes.text(-0.12, 0.5, text, transform=axes.transAxes, rotation=90, va="center", ha="center")


def draw_learning_curves(curves: list[Curve], floor: float, path: Path) -> None:
    """Training and validation loss by epoch, with published final values and the entropy floor."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        axes = figure.subplots()
        for curve in curves:
            _draw_curve(axes, curve)
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
        axes.set_title("Learning curves", loc="left")
        axes.set_ylim(*_loss_limits(curves, floor))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper right")
        _save(figure, path)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    color = COLORS.get(curve.name)
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
