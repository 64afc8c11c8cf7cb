from pathlib import Path

import numpy as np
import pytest

from tasks.reports.figures.image_rows import (
    draw_comparison,
    draw_extremes,
    draw_lab_figure,
    draw_nearest,
    draw_walks,
    lab_rows,
    tile_shape,
)
from tasks.reports.figures.style import DPI, Array, ShownImages
from tests.pictures import read_colors


def shown(shape: tuple[int, ...] = (28, 28), count: int = 10) -> ShownImages:
    generator = np.random.default_rng(0)
    originals = generator.random((count, *shape))
    return ShownImages(
        originals, generator.random((count, 32)), originals[:, ::-1], generator.random(count)
    )


NAMES = [f"class {number}" for number in range(10)]
EXTREMES = {"worst": (shown(), NAMES), "best": (shown(), NAMES)}


def draw(originals: Array, reconstructions: Array, path: Path) -> Array:
    """Colours of a comparison without its bar, which has both red and blue."""
    count = len(originals)
    images = ShownImages(originals, np.zeros((count, 4)), reconstructions, np.zeros(count))
    draw_comparison(originals, [""] * count, {"deep": images}, path)
    picture = read_colors(path)
    return picture[:, : -int(1.2 * DPI)]


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_comparison(shown().originals, NAMES, {"PCA-32": shown()}, tmp_path / f"{name}1.png")
        draw_extremes("deep", EXTREMES, tmp_path / f"{name}2.png")
        draw_lab_figure("deep", shown(), tmp_path / f"{name}3.png")
    for number in (1, 2, 3):
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


def test_every_row_has_its_label_and_numbers(tmp_path: Path) -> None:
    images = shown()._replace(errors=np.arange(10) / 100)
    methods = {"PCA-32": images, "my_$model$": images}
    draw_comparison(images.originals, NAMES, methods, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for text in ("original", "PCA-32", "PCA-32, error", "my_$model$", "my_$model$, error"):
        assert drawn.count(f">{text}<") == 1
    assert drawn.count(">0.0700<") == 2
    assert ">reconstruction minus original<" in drawn
    assert drawn.count(">class 3<") == 1
    draw_extremes("deep", EXTREMES, tmp_path / "b.svg")
    drawn = (tmp_path / "b.svg").read_text()
    assert [drawn.count(f">{text}<") for text in ("worst", "best", "reconstruction")] == [1, 1, 2]


def test_nearest_images_stand_below_each_with_their_classes(tmp_path: Path) -> None:
    images = shown().originals
    ranks = np.stack([images, images])
    names = np.array([[f"{letter}{number}" for number in range(10)] for letter in "ab"])
    nearest = {"deep code": (ranks, names), "pixels": (ranks, names)}
    draw_nearest("deep", images, NAMES, nearest, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for text in ("deep code, 1st", "deep code, 2nd", "pixels, 1st", "class 9"):
        assert drawn.count(f">{text}<") == 1
    assert drawn.count(">b7<") == 2


def test_walks_have_a_row_each(tmp_path: Path) -> None:
    draw_walks("deep", {"1. coat to bag": shown().originals}, tmp_path / "a.svg")
    assert ">1. coat to bag<" in (tmp_path / "a.svg").read_text()


def test_few_images_leave_room_for_the_title(tmp_path: Path) -> None:
    one = {"worst": (shown(count=1), ["bag"]), "best": (shown(count=1), ["bag"])}
    draw_extremes("deep", one, tmp_path / "figure.png")
    assert read_colors(tmp_path / "figure.png").shape[1] > 5 * DPI


def with_codes(codes: Array) -> ShownImages:
    blank = np.zeros((len(codes), 28, 28))
    return ShownImages(blank, codes, blank, np.zeros(len(codes)))


def draw_lab(shown: ShownImages, path: Path) -> Array:
    """Colours of the figure without its bar, which has all greys."""
    draw_lab_figure("deep", shown, path)
    picture = read_colors(path)
    return picture[:, : int(0.75 * picture.shape[1])]


def count_grey(picture: Array, value: float) -> int:
    return int(np.isclose(picture, value, atol=0.01).all(axis=2).sum())


def test_shows_the_images_the_notebook_shows() -> None:
    """The rows that the notebook's own calls give, `np.random.seed` and `np.random.randint`."""
    np.random.seed(50)
    assert np.array_equal(lab_rows(10_000, "shallow"), np.random.randint(10_000, size=10))
    np.random.seed(42)
    assert np.array_equal(lab_rows(10_000, "deep"), np.random.randint(10_000, size=10))


@pytest.mark.parametrize(
    ("code_size", "shape"), [(32, (8, 4)), (1, (1, 1)), (7, (7, 1)), (64, (16, 4)), (50, (10, 5))]
)
def test_a_code_is_shown_as_a_tile(code_size: int, shape: tuple[int, int]) -> None:
    assert tile_shape(code_size) == shape


def test_originals_and_reconstructions_have_their_own_greys(tmp_path: Path) -> None:
    shown = with_codes(np.zeros((4, 32)))._replace(
        originals=np.full((4, 28, 28), 0.4), reconstructions=np.full((4, 28, 28), 0.6)
    )
    picture = draw_lab(shown, tmp_path / "figure.png")
    assert count_grey(picture, 0.4) > 10_000
    assert count_grey(picture, 0.4) == pytest.approx(count_grey(picture, 0.6), rel=0.05)


def test_all_codes_are_on_one_scale(tmp_path: Path) -> None:
    """The second code is half of the first: white, and grey."""
    both = draw_lab(
        with_codes(np.stack([np.full(32, 6.0), np.full(32, 3.0)])), tmp_path / "both.png"
    )
    grey, black = count_grey(both, 0.5), count_grey(both, 0.0)
    assert grey > 5_000
    none = draw_lab(with_codes(np.full((2, 32), 6.0)), tmp_path / "white.png")
    assert count_grey(none, 0.5) < grey / 10
    assert count_grey(none, 0.0) == pytest.approx(black, rel=0.05)


def test_codes_that_are_zero_throughout_are_black(tmp_path: Path) -> None:
    zero = draw_lab(with_codes(np.zeros((2, 32))), tmp_path / "zero.png")
    white = draw_lab(with_codes(np.full((2, 32), 6.0)), tmp_path / "white.png")
    assert count_grey(zero, 0.0) > count_grey(white, 0.0) + 10_000
