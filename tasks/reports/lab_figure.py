"""The figure of the reference notebook ("the lab"): images, codes as tiles, reconstructions."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from tasks.reports.image_rows import Row, colors_of, draw_rows
from tasks.reports.style import ShownImages, plain

LAB_SEEDS = {"shallow": 50, "deep": 42}
"""Seeds from which the notebook draws the images of its two figures."""
LAB_IMAGES = 10


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
