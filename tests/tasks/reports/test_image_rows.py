from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.reports.image_rows import Row, draw_comparison, draw_extremes, draw_rows
from tasks.reports.style import DPI, Array, ShownImages


def shown(shape: tuple[int, ...] = (28, 28), count: int = 10) -> ShownImages:
    generator = np.random.default_rng(0)
    originals = generator.random((count, *shape))
    return ShownImages(originals, np.zeros((count, 4)), originals[:, ::-1], generator.random(count))


def draw(originals: Array, reconstructions: Array, path: Path) -> Array:
    """Colours of a comparison without its bar, which has both red and blue."""
    count = len(originals)
    images = ShownImages(originals, np.zeros((count, 4)), reconstructions, np.zeros(count))
    draw_comparison(originals, {"deep": images}, path)
    picture = np.asarray(imread(path)[..., :3])
    return picture[:, : -int(1.2 * DPI)]


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_comparison(shown().originals, {"PCA-32": shown()}, tmp_path / f"{name}1.png")
        draw_extremes("deep", shown(), shown(), tmp_path / f"{name}2.png")
    for number in (1, 2):
        left, right = (tmp_path / f"{name}{number}.png" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_too_bright_is_red_and_too_dark_is_blue(tmp_path: Path) -> None:
    originals = np.full((3, 20, 20), 0.5)
    bright = draw(originals, originals + 0.4, tmp_path / "bright.png")
    dark = draw(originals, originals - 0.4, tmp_path / "dark.png")
    red, blue = (picture[..., 0] - picture[..., 2] for picture in (bright, dark))
    assert (red > 0.4).sum() > 10_000
    assert (red < -0.4).sum() == 0
    assert (blue < -0.4).sum() > 10_000
    assert (blue > 0.4).sum() == 0


def test_colour_images_keep_their_colours(tmp_path: Path) -> None:
    green = np.full((3, 20, 20, 3), (0, 0.6, 0))
    picture = draw(green, green, tmp_path / "figure.png")
    assert np.isclose(picture, (0, 0.6, 0), atol=0.01).all(axis=2).sum() > 2 * 20_000


@pytest.mark.parametrize(
    "shape", [(1, 1), (28, 28), (40, 16), (16, 40), (3, 200), (200, 3), (20, 32, 3)]
)
def test_every_image_is_seen_whatever_the_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Ten images of as many colours in each row: apart, of one size, none covered."""
    images = np.ones((10, *shape[:2], 3)) * np.linspace(0.05, 0.95, 10)[:, None, None, None]
    images[..., 2] = 0.5  # no text has these colours
    rows = [Row("one", images, np.arange(10.0)), Row("two", images)]
    draw_rows("A title", rows, tmp_path / "figure.png")
    picture = imread(tmp_path / "figure.png")[..., :3]
    areas = [np.isclose(picture, images[n, 0, 0], atol=0.02).all(axis=2) for n in range(10)]
    sizes = [area.sum() for area in areas]
    assert min(sizes) > 0.9 * max(sizes) > 0.9 * 2 * 0.1 * DPI**2
    columns = [np.flatnonzero(area.any(axis=0)) for area in areas]
    assert all(left.max() < right.min() for left, right in pairwise(columns))


def test_every_row_has_its_label_and_numbers(tmp_path: Path) -> None:
    images = shown()._replace(errors=np.arange(10) / 100)
    draw_comparison(images.originals, {"PCA-32": images, "my_$model$": images}, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for text in ("original", "PCA-32", "PCA-32, error", "my_$model$", "my_$model$, error"):
        assert drawn.count(f">{text}<") == 1
    assert drawn.count(">0.0700<") == 2
    assert ">reconstruction minus original<" in drawn
    draw_extremes("deep", images, images, tmp_path / "b.svg")
    drawn = (tmp_path / "b.svg").read_text()
    assert [drawn.count(f">{text}<") for text in ("worst", "best", "reconstruction")] == [1, 1, 2]


def test_few_images_leave_room_for_the_title(tmp_path: Path) -> None:
    draw_extremes("deep", shown(count=1), shown(count=1), tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[1] > 5 * DPI
