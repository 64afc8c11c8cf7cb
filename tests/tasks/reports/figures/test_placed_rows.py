from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tasks.reports.figures.placed_rows import FRAME, LONGER_SIDE, Row, draw_rows
from tasks.reports.figures.style import DPI
from tests.pictures import read_colors


@pytest.mark.parametrize(
    "shape", [(1, 1), (28, 28), (40, 16), (16, 40), (3, 200), (200, 3), (20, 32, 3)]
)
def test_every_image_is_seen_whatever_the_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Ten images of as many colours in each row: apart, of one size, none covered."""
    images = np.ones((10, *shape[:2], 3)) * np.linspace(0.05, 0.95, 10)[:, None, None, None]
    images[..., 2] = 0.5  # no text has these colours
    rows = [Row("one", images, [f"{number}.0" for number in range(10)]), Row("two", images)]
    draw_rows("A title", rows, tmp_path / "figure.png")
    picture = read_colors(tmp_path / "figure.png")
    areas = [np.isclose(picture, images[n, 0, 0], atol=0.02).all(axis=2) for n in range(10)]
    sizes = [area.sum() for area in areas]
    assert min(sizes) > 0.9 * max(sizes) > 0.9 * 2 * 0.1 * DPI**2
    columns = [np.flatnonzero(area.any(axis=0)) for area in areas]
    assert all(left.max() < right.min() for left, right in pairwise(columns))


def test_images_stand_right_of_their_label_at_the_margin(tmp_path: Path) -> None:
    blue = np.ones((3, 28, 28, 3)) * (0.2, 0.4, 0.8)
    draw_rows("", [Row("a label", blue)], tmp_path / "figure.png")
    picture = read_colors(tmp_path / "figure.png")
    rows, columns = np.nonzero(np.isclose(picture, (0.2, 0.4, 0.8), atol=0.01).all(axis=2))
    margin = round(0.1 * DPI) + FRAME
    around = [rows.min(), picture.shape[0] - 1 - rows.max(), picture.shape[1] - 1 - columns.max()]
    assert around == pytest.approx([margin] * 3, abs=2)
    assert columns.min() > margin + 0.3 * DPI
    assert len(rows) == 3 * LONGER_SIDE**2


def test_large_images_are_averaged_and_small_ones_repeated(tmp_path: Path) -> None:
    stripes = np.zeros((1, 1000, 2, 3))
    stripes[:, ::2] = 1  # finer than the pixels of the figure: grey
    stripes[:, :, 1] = 0
    draw_rows("", [Row("", stripes)], tmp_path / "figure.png")
    picture = read_colors(tmp_path / "figure.png")
    assert np.ptp(picture[100:150, picture.shape[1] // 2 - 6]) < 0.3
    assert picture[100:150, picture.shape[1] // 2 - 6].mean() == pytest.approx(0.5, abs=0.05)
