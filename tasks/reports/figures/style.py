"""What all figures share: style, colours, saving. Equal inputs give equal bytes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.storage import atomic_file
from tasks.reports.figures.fonts import families
from tasks.reports.figures.plotting import Figure, Normalize, ScalarMappable, mpl

Array = NDArray[Any]

STYLE: Any = {
    "font.size": 12,
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
GREY = "0.35"
ERRORS = ScalarMappable(Normalize(-0.5, 0.5), "RdBu_r")
"""Reconstruction minus original: red too bright, blue too dark, white equal."""
DPI = 150
"""Pixels per inch of a PNG."""
LONGEST_NAME = 24
"""Letters of a name in a figure; more would leave no room for the data."""
NARROWEST = 6.0
"""Longer over shorter side of an image as drawn, at most: a narrower one is stretched."""


class ShownImages(NamedTuple):
    """Some images, and what a model makes of them."""

    originals: Array
    """(n, height, width[, 3]) in 0..1."""
    codes: Array
    """(n, code_size)."""
    reconstructions: Array
    """(n, height, width[, 3]), about 0..1."""
    errors: Array
    """(n,) mean squared error."""


def shown_aspect(images: Array) -> float:
    """Height over width of images (n, height, width[, 3]) as they are drawn."""
    height, width = images.shape[1:3]
    return float(np.clip(height / width, 1 / NARROWEST, NARROWEST))


@contextmanager
def new_figure(
    size: tuple[float, float], *paths: Path, names: Iterable[str] = ()
) -> Iterator[Figure]:
    """Give a figure in our style, `size` inches wide and high; write it to the paths at the end.

    Args:
        names: texts in any script that it shows.
    """
    with mpl.rc_context({**STYLE, "font.family": families(names)}):
        figure = Figure(size, layout="constrained")
        yield figure
        for path in paths:
            save(figure, path)


def save(figure: Figure, path: Path, cropped: bool = False) -> None:
    """Write a figure atomically, in the format that the file's name ends with.

    Args:
        cropped: cut off empty margins; for PNG only.
    """
    # Without these, the bytes depend on the date and on Matplotlib's version.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with atomic_file(path) as partial:
        if path.suffix == ".svg":
            figure.savefig(partial, dpi=DPI, metadata=metadata)
            return
        with _laid_out(figure):
            margin = mpl.rcParams["savefig.pad_inches"]
            extent = figure.get_tightbbox().padded(margin) if cropped else None
            figure.savefig(partial, dpi=DPI, metadata=metadata, bbox_inches=extent)


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Give places to everything as in a PNG; within this, `savefig` draws once.

    To lay out a figure itself, Matplotlib draws all of it a first time.
    """
    engine = figure.get_layout_engine()
    figure.set_dpi(DPI)
    if engine:
        engine.execute(figure)
    figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_layout_engine(engine)


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as text, shortened if it is long: Matplotlib reads dollar signs as mathematics."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")
