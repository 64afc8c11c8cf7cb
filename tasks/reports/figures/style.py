"""What all figures share: style, colours, saving. Equal inputs give equal bytes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core.storage import atomic_file
from tasks.reports.figures.fonts import families
from tasks.reports.figures.plotting import (
    Bbox,
    Figure,
    FigureCanvasAgg,
    Normalize,
    ScalarMappable,
    mpl,
)

Array = NDArray[Any]

DPI = 150
"""Pixels per inch of a PNG."""
COMPRESSION = 3
"""Level of a PNG: 6, the usual one, takes 1.4 times as long for files 9 % smaller."""
STYLE: Any = {
    "figure.dpi": DPI,
    "figure.subplot.left": 0,
    "figure.subplot.right": 1,
    "figure.subplot.bottom": 0,
    "figure.subplot.top": 1,
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
    """Give a figure in our style; write it to the paths at the end, with all that is around it.

    The axes fill the figure, and texts are around it, where nothing has to make room for them:
    Matplotlib's layouts measure every text several times, which takes longer than to draw it.

    Args:
        size: of the axes, inches wide and high.
        paths: each in the format that the file's name ends with.
        names: texts in any script that it shows.
    """
    with mpl.rc_context({**STYLE, "font.family": families(names)}):
        figure = Figure(size)
        _OpaqueCanvas(figure)
        yield figure
        extent = _find_extent(figure)
        for path in paths:
            _save(figure, extent, path)


def _find_extent(figure: Figure) -> Bbox:
    """All that is drawn, with a margin, in inches; whole pixels, so that no image is resampled."""
    extent = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    return Bbox([np.floor(extent.p0 * DPI) / DPI, np.ceil(extent.p1 * DPI) / DPI])


def _save(figure: Figure, extent: Bbox, path: Path) -> None:
    """Write a part of a figure atomically."""
    metadata = {"Date": None} if path.suffix == ".svg" else None  # equal bytes at any time
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=DPI, metadata=metadata, bbox_inches=extent)


class _OpaqueCanvas(FigureCanvasAgg):
    """Writes PNGs without transparency, and in greys if there is no colour: less to compress."""

    def print_png(self, filename_or_obj: Path, **_: Any) -> None:
        """Draw the figure and write it; Matplotlib calls this."""
        canvas: Any = self  # Matplotlib's methods have no types
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        red, green, blue = picture.split()
        drawn = red if red == green == blue else picture
        drawn.save(filename_or_obj, "png", dpi=(DPI, DPI), compress_level=COMPRESSION)


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as text, shortened if it is long: Matplotlib reads dollar signs as mathematics."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")
