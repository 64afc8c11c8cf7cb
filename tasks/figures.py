"""Pictures of images: arrays in, a file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.storage import atomic_file

Array = NDArray[Any]

STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.titlelocation": "left",
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "autoencoder-flow",  # otherwise the ids in an SVG are random
}
COLORS = {"shallow": "#0072b2", "deep": "#d55e00", "wide": "#009e73"}
"""Of Okabe and Ito, told apart with every kind of colour vision."""
OTHER_COLORS = ("#cc79a7", "#e69f00", "#56b4e9")
GREY = "0.35"
ERRORS = ScalarMappable(Normalize(-0.5, 0.5), "RdBu_r")
"""Restored minus original: red too bright, blue too dark, white right."""
GAP = 2
"""Pixels between two images."""


class ShownImages(NamedTuple):
    """Some images and what a model makes of them."""

    originals: Array
    """(n, height, width[, 3]) in 0..1."""
    codes: Array
    """(n, code_size)."""
    reconstructions: Array
    """(n, height, width), about 0..1."""
    errors: Array
    """(n,) mean squared error."""


def color_of(model: str, position: int) -> str:
    """A model's colour, the same in every figure."""
    return COLORS.get(model, OTHER_COLORS[position % len(OTHER_COLORS)])


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of the file's name."""
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
    grid = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        _show(grid[0, column], images.originals[column], vmin=0, vmax=1)
        _show(grid[1, column], images.codes[column].reshape(tile_shape(code_size)))
        _show(grid[2, column], images.reconstructions[column], vmin=0, vmax=1)
    save(figure, path)


def _colors(images: Array) -> Array:
    """(n, height, width[, 3]) in about 0..1 as colours, (n, height, width, 3)."""
    clipped = np.clip(images, 0, 1)
    return clipped if images.ndim == 4 else np.repeat(clipped[..., np.newaxis], 3, axis=-1)


def _errors(images: ShownImages) -> Array:
    """Restored minus original, the mean over its colours, as colours, (n, height, width, 3)."""
    errors = images.reconstructions - images.originals
    if errors.ndim == 4:
        errors = errors.mean(axis=-1)
    return np.asarray(ERRORS.cmap(ERRORS.norm(errors)))[..., :3]


def _row(images: Array) -> Array:
    """Colour images side by side, with white gaps, as one image."""
    padded = np.pad(images, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=1.0)
    return np.concatenate(list(padded), axis=1)


def _draw_rows(title: str, rows: dict[str, Array], path: Path, notes: dict[str, Array]) -> None:
    """Labelled rows of images in one picture.

    Args:
        rows: by label, (n, height, width, 3) colours; a label may be blank, but not twice the same.
        notes: by label of the row, (n,) numbers written beneath its images.
    """
    first = next(iter(rows.values()))
    height, width = first.shape[1:3]
    picture = np.concatenate([_row(images) for images in rows.values()])
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        inches = 11.0 / picture.shape[1]
        figure = Figure((12.5, picture.shape[0] * inches + 0.5), layout="constrained")
        axes = figure.subplots()
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title)
        axes.set_xticks([])
        centres = np.arange(len(rows)) * (height + GAP) + height / 2
        axes.set_yticks(centres, list(rows))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for label, numbers in notes.items():
            top = list(rows).index(label) * (height + GAP)
            for column, number in enumerate(numbers):
                left = column * (width + GAP)
                _write_number(axes, left, top, f"{number:.4f}")
        if any("error" in label for label in rows):
            bar = figure.colorbar(ERRORS, ax=axes, shrink=0.5, pad=0.01, aspect=30)
            bar.set_label("restored minus original (0 to 1 scale)")
        save(figure, path)


def _write_number(axes: Axes, left: float, top: float, text: str) -> None:
    background = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    axes.text(left, top, text, va="top", ha="left", fontsize=8, color="black", bbox=background)


def draw_comparison(originals: Array, restored: dict[str, ShownImages], path: Path) -> None:
    """The originals; below them, for each method, what it restores and where it errs.

    Args:
        originals: (n, height, width[, 3]) in 0..1.
        restored: by the method's name.
    """
    rows, notes = {"original": _colors(originals)}, {}
    for name, images in restored.items():
        rows[name] = _colors(images.reconstructions)
        rows[f"{name}, error"] = _errors(images)
        notes[name] = images.errors
    _draw_rows("Test images, restored; the number is the mean squared error", rows, path, notes)


def draw_extremes(model: str, worst: ShownImages, best: ShownImages, path: Path) -> None:
    """The test images that a model restores worst and best."""
    rows, notes = {}, {}
    for label, images in (("worst", worst), ("best", best)):
        rows[label] = _colors(images.originals)
        rows[f"{label}, restored"] = _colors(images.reconstructions)
        notes[f"{label}, restored"] = images.errors
    title = f"What the {model} model restores worst and best; the number is the mean squared error"
    _draw_rows(title, rows, path, notes)
