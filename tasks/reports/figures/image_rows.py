"""Figures with rows of images: originals; below them reconstructions, errors, codes or others."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.reports.figures.placed_rows import Row, draw_rows
from tasks.reports.figures.plotting import Normalize, ScalarMappable
from tasks.reports.figures.style import ERRORS, Array, ShownImages, plain

LAB_SEEDS = {"shallow": 50, "deep": 42}
"""Seeds from which the notebook draws the images of its two figures."""
LAB_IMAGES = 10


def draw_comparison(
    originals: Array, names: list[str], shown: dict[str, ShownImages], path: Path
) -> None:
    """The originals; below them each method's reconstructions and their errors.

    Args:
        originals: (n, height, width[, 3]) in 0..1.
        names: written above the originals: their classes.
        shown: by the method's name.
    """
    rows = [Row("original", colors_of(originals), headings=names)]
    for name, images in shown.items():
        rows.append(_reconstructions(plain(name), images))
        rows.append(Row(f"{plain(name)}, error", _error_colors(images)))
    title = "Reconstructions of test images, with mean squared errors"
    draw_rows(title, rows, path, ERRORS, "reconstruction minus original")


def draw_extremes(
    model: str, extremes: dict[str, tuple[ShownImages, list[str]]], path: Path
) -> None:
    """The test images with the largest and the smallest errors.

    Args:
        extremes: by `worst` and `best`: images, and what is written above them.
    """
    rows = []
    for label, (images, names) in extremes.items():
        rows.append(Row(label, colors_of(images.originals), headings=names))
        rows.append(_reconstructions("reconstruction", images))
    title = f"Worst and best reconstructions of the {plain(model)} model, with mean squared errors"
    draw_rows(title, rows, path)


def draw_walks(model: str, walks: dict[str, Array], path: Path) -> None:
    """What a model makes of the codes between two images.

    Args:
        walks: by what leads where: (steps, height, width[, 3]) in about 0..1.
    """
    rows = [Row(label, colors_of(images)) for label, images in walks.items()]
    title = f"From one image to another, in equal steps through the {plain(model)} code"
    draw_rows(title, rows, path)


def draw_nearest(
    model: str,
    queries: Array,
    names: list[str],
    nearest: dict[str, tuple[Array, Array]],
    path: Path,
) -> None:
    """Images; below them those that are nearest to them, by different measures.

    Args:
        queries: (n, height, width[, 3]) in 0..1.
        names: of their classes, written above them.
        nearest: by measure: images (rank, n, height, width[, 3]), and the names of their classes,
            (rank, n).
    """
    rows = [Row("test image", colors_of(queries), headings=names)]
    for measure, (images, classes) in nearest.items():
        for rank, (found, found_names) in enumerate(zip(images, classes, strict=True), start=1):
            rows.append(Row(f"{measure}, {_ordinal(rank)}", colors_of(found), list(found_names)))
    title = f"Nearest training images by the {plain(model)} code and by pixels, with their classes"
    draw_rows(title, rows, path)


def _ordinal(rank: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(rank, f"{rank}th")


def _reconstructions(label: str, images: ShownImages) -> Row:
    errors = [f"{error:.4f}" for error in images.errors]
    return Row(label, colors_of(images.reconstructions), errors)


def lab_rows(rows: int, model: str) -> NDArray[np.int64]:
    """The test images that the notebook shows for a model: (10,) rows, with repetition.

    The notebook uses NumPy's legacy generator, whose numbers never change.
    """
    generator = np.random.RandomState(LAB_SEEDS.get(model, 0))
    return generator.randint(rows, size=LAB_IMAGES)


def tile_shape(code_size: int) -> tuple[int, int]:
    """Rows and columns of a code's tile: the divisors nearest to 2:1; 8 x 4 for 32."""
    columns = [n for n in range(1, code_size + 1) if code_size % n == 0]
    best = min(columns, key=lambda n: abs(np.log(code_size / n / n / 2)))
    return code_size // best, best


def draw_lab_figure(model: str, images: ShownImages, path: Path) -> None:
    """Three rows: originals, their codes as tiles, reconstructions.

    All codes are on one scale, so that equal greys are equal numbers.
    """
    count, code_size = images.codes.shape
    tiles = images.codes.reshape(count, *tile_shape(code_size))
    shades = ScalarMappable(Normalize(min(0.0, tiles.min()), tiles.max()), "gray")
    rows = [
        Row("original", colors_of(images.originals)),
        Row("code", np.asarray(shades.cmap(shades.norm(tiles)))[..., :3]),
        Row("reconstruction", colors_of(images.reconstructions)),
    ]
    draw_rows(f"Codes of the {plain(model)} model", rows, path, shades, "value of a unit")


def colors_of(images: Array) -> Array:
    """(n, height, width[, 3]) in about 0..1 as colours, (n, height, width, 3)."""
    clipped = np.clip(images, 0, 1)
    return clipped if images.ndim == 4 else np.repeat(clipped[..., np.newaxis], 3, axis=-1)


def _error_colors(images: ShownImages) -> Array:
    """Reconstruction minus original, averaged over colours, as (n, height, width, 3) colours."""
    errors = images.reconstructions - images.originals
    if errors.ndim == 4:
        errors = errors.mean(axis=-1)
    return np.asarray(ERRORS.cmap(ERRORS.norm(errors)))[..., :3]
