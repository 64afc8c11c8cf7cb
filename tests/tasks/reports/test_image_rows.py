from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.reports.image_rows import TITLE_HEIGHT, draw_comparison, draw_extremes
from tasks.reports.style import DPI, Array, ShownImages


def shown(shape: tuple[int, ...] = (28, 28), count: int = 10) -> ShownImages:
    generator = np.random.default_rng(0)
    originals = generator.random((count, *shape))
    return ShownImages(originals, np.zeros((count, 4)), originals[:, ::-1], generator.random(count))


def draw(originals: Array, restored: Array, path: Path) -> Array:
    count = len(originals)
    images = ShownImages(originals, np.zeros((count, 4)), restored, np.zeros(count))
    draw_comparison(originals, {"deep": images}, path)
    return np.asarray(imread(path)[..., :3])


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        methods = {"PCA-32": shown(), "deep": shown()}
        draw_comparison(shown().originals, methods, tmp_path / f"{name}1.png")
        draw_extremes("deep", shown(), shown(), tmp_path / f"{name}2.png")
    for number in (1, 2):
        left, right = (tmp_path / f"{name}{number}.png" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_too_bright_is_red_and_too_dark_is_blue(tmp_path: Path) -> None:
    originals = np.full((1, 20, 20), 0.5)
    bright = draw(originals, originals + 0.4, tmp_path / "bright.png")
    dark = draw(originals, originals - 0.4, tmp_path / "dark.png")
    bar = 2 * DPI  # at the right, with both colours
    red, blue = (picture[:, :-bar, 0] - picture[:, :-bar, 2] for picture in (bright, dark))
    assert (red > 0.4).sum() > 10_000
    assert (red < -0.4).sum() == 0
    assert (blue < -0.4).sum() > 10_000
    assert (blue > 0.4).sum() == 0


def test_colour_images_keep_their_colours(tmp_path: Path) -> None:
    green = np.full((1, 20, 20, 3), (0, 0.6, 0))
    picture = draw(green, green, tmp_path / "figure.png")
    assert np.isclose(picture, (0, 0.6, 0), atol=0.01).all(axis=2).sum() > 2 * 20_000


@pytest.mark.parametrize("shape", [(5, 4), (28, 28), (40, 16), (16, 40), (128, 128), (20, 32, 3)])
def test_nothing_is_blank_whatever_the_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Below the title, no band of the picture is white for more than a number's height."""
    images = shown(shape)
    draw_extremes("deep", images, images, tmp_path / "figure.png")
    picture = imread(tmp_path / "figure.png")[int(TITLE_HEIGHT * DPI) :, :, :3]
    blank = (picture > 0.99).all(axis=(1, 2)).astype(int)
    edges = np.flatnonzero(np.diff(blank, prepend=0, append=0))
    assert (edges[1::2] - edges[::2]).max() < 0.3 * DPI


def test_few_images_are_drawn_too(tmp_path: Path) -> None:
    draw_extremes("deep", shown(count=1), shown(count=1), tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[1] > 5 * DPI, "the title has room"
