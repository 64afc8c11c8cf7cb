"""Rows of images in one picture: what is restored, beside what it was made from."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.reports.style import ERRORS, STYLE, Array, ShownImages, save

CELL = (1.0, 1.6)
"""Inches, width and height, that an image fills in one of the two."""
GAP = 0.08
"""Inches between two images."""
LEAST_PITCH = 0.75
"""Inches from one image to the next, so that the number below one does not meet its neighbour's."""
NUMBER_HEIGHT = 0.24
"""Inches below an image for its number."""
TITLE_HEIGHT = 0.5
BAR_WIDTH = 1.2
"""Inches for a colour bar with its label, which needs as many as `BAR_HEIGHT` in length."""
BAR_HEIGHT = 2.8
LETTER = 0.095
"""Inches of a letter in a label, at most, on average."""


class Row(NamedTuple):
    """Images side by side."""

    label: str
    images: Array
    """(n, height, width, 3) colours in 0..1."""
    numbers: Array | None = None
    """(n,) written below the images."""


class Sizes(NamedTuple):
    """Where everything stands, in inches."""

    left: float
    """Of the first image."""
    width: float
    """Of an image."""
    height: float
    """Of an image."""
    pitch: float
    """From one image to the next."""
    tops: Array
    """(rows + 1,) of the rows, and where the last one ends; downwards from the top."""


def draw_comparison(originals: Array, restored: dict[str, ShownImages], path: Path) -> None:
    """The originals; below them, for each method, what it restores and where it errs.

    Args:
        originals: (n, height, width[, 3]) in 0..1.
        restored: by the method's name.
    """
    rows = [Row("original", _colors(originals))]
    for name, images in restored.items():
        rows.append(Row(name, _colors(images.reconstructions), images.errors))
        rows.append(Row(f"{name}, error", _errors(images)))
    title = "Test images, restored; the number is the mean squared error"
    _draw_rows(title, rows, path, with_errors=True)


def draw_extremes(model: str, worst: ShownImages, best: ShownImages, path: Path) -> None:
    """The test images that a model restores worst and best."""
    rows = []
    for label, images in (("worst", worst), ("best", best)):
        rows.append(Row(label, _colors(images.originals)))
        rows.append(Row(f"{label}, restored", _colors(images.reconstructions), images.errors))
    title = f"What the {model} model restores worst and best; the number is the mean squared error"
    _draw_rows(title, rows, path, with_errors=False)


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


def _lay_out(rows: list[Row]) -> Sizes:
    """Images as large as `CELL` allows, whatever their shape, with equal gaps."""
    height, width = rows[0].images.shape[1:3]
    scale = min(CELL[0] / width, CELL[1] / height)
    heights = [height * scale + GAP + (0 if row.numbers is None else NUMBER_HEIGHT) for row in rows]
    return Sizes(
        left=0.2 + LETTER * max(len(row.label) for row in rows),
        width=width * scale,
        height=height * scale,
        pitch=max(width * scale + GAP, LEAST_PITCH),
        tops=np.cumsum([TITLE_HEIGHT, *heights]),
    )


def _draw_rows(title: str, rows: list[Row], path: Path, with_errors: bool) -> None:
    """Labelled rows of images of one shape in one picture.

    Args:
        with_errors: explain the colours of errors.
    """
    sizes = _lay_out(rows)
    count = max(len(row.images) for row in rows)
    width = sizes.left + max(count * sizes.pitch, LETTER * len(title) - sizes.left)
    bottom = sizes.tops[-1]
    if with_errors:
        width, bottom = width + BAR_WIDTH, max(bottom, TITLE_HEIGHT + BAR_HEIGHT)
    with mpl.rc_context(STYLE):
        figure = Figure((width, bottom))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.text(sizes.left, TITLE_HEIGHT / 2, title, va="center", fontsize=13)
        for top, row in zip(sizes.tops, rows, strict=False):
            _draw_row(axes, row, top, sizes)
        axes.set(xlim=(0, width), ylim=(bottom, 0), aspect="auto")
        if with_errors:
            _explain_errors(figure, width, bottom)
        save(figure, path)


def _draw_row(axes: Axes, row: Row, top: float, sizes: Sizes) -> None:
    middle, end = top + sizes.height / 2, top + sizes.height
    axes.text(sizes.left - 0.1, middle, row.label, ha="right", va="center")
    for column, image in enumerate(row.images):
        left = sizes.left + column * sizes.pitch
        axes.imshow(image, extent=(left, left + sizes.width, end, top))
        if row.numbers is not None:
            centre = left + sizes.width / 2
            number = f"{row.numbers[column]:.4f}"
            axes.text(centre, end + 0.03, number, ha="center", va="top", fontsize=11)


def _explain_errors(figure: Figure, width: float, bottom: float) -> None:
    left, top = width - BAR_WIDTH + 0.15, bottom - TITLE_HEIGHT - BAR_HEIGHT
    place = figure.add_axes((left / width, top / bottom, 0.2 / width, BAR_HEIGHT / bottom))
    bar = figure.colorbar(ERRORS, cax=place, extend="both", ticks=[-0.5, -0.25, 0, 0.25, 0.5])
    bar.set_label("restored minus original")
