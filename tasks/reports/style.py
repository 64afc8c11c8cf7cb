"""Pictures of images: arrays in, a file out. Equal inputs give equal bytes."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.core.storage import atomic_file

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
COLORS = {"shallow": "#0072b2", "deep": "#d55e00", "wide": "#009e73"}
"""Of Okabe and Ito, told apart with every kind of colour vision."""
OTHER_COLORS = ("#cc79a7", "#e69f00", "#56b4e9")
GREY = "0.35"
ERRORS = ScalarMappable(Normalize(-0.5, 0.5), "RdBu_r")
"""Restored minus original: red too bright, blue too dark, white right."""
DPI = 150
"""Pixels of an inch in a PNG."""


class ShownImages(NamedTuple):
    """Some images and what a model makes of them."""

    originals: Array
    """(n, height, width[, 3]) in 0..1."""
    codes: Array
    """(n, code_size)."""
    reconstructions: Array
    """(n, height, width[, 3]), about 0..1."""
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
        figure.savefig(partial, dpi=DPI, metadata=metadata)


def plain(name: str) -> str:
    """A name as it is: Matplotlib would read dollar signs as mathematics."""
    return name.replace("$", r"\$")


def tile_shape(code_size: int) -> tuple[int, int]:
    """Rows and columns of the tile that shows a code: as near to 2:1 as divides; 8 x 4 for 32."""
    columns = [n for n in range(1, code_size + 1) if code_size % n == 0]
    best = min(columns, key=lambda n: abs(np.log(code_size / n / n / 2)))
    return code_size // best, best


def draw_lab_figure(images: ShownImages, path: Path) -> None:
    """Three rows: the originals, their codes as tiles, the reconstructions; as in the lab.

    All codes are on one scale, so that equal greys are equal numbers.
    """
    count, code_size = images.codes.shape
    tiles = images.codes.reshape(count, *tile_shape(code_size))
    shades = ScalarMappable(Normalize(min(0.0, tiles.min()), tiles.max()), "gray")
    rows = (images.originals, tiles, images.reconstructions)
    ranges = (Normalize(0, 1), shades.norm, Normalize(0, 1))
    with mpl.rc_context({"font.size": 20}):
        figure = Figure(figsize=(18, 4), layout="constrained")
        grid = figure.subplots(3, count, squeeze=False)
        for axes, shown, norm in zip(grid, rows, ranges, strict=True):
            for cell, image in zip(axes, shown, strict=True):
                cell.imshow(image, cmap="gray", norm=norm)
                cell.set(xticks=[], yticks=[])
                cell.spines[:].set_visible(False)
        for axes, label in zip(grid[:, 0], ("original", "code", "restored"), strict=True):
            axes.set_ylabel(label, rotation="horizontal", ha="right", va="center", labelpad=12)
        bar = figure.colorbar(shades, ax=grid, pad=0.01, aspect=12, panchor=False)
        bar.set_label("code unit")
        save(figure, path)
