from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.figures import (
    GAP,
    ShownImages,
    draw_comparison,
    draw_extremes,
    draw_lab_figure,
    tile_shape,
)


def images(code_size: int = 32) -> ShownImages:
    generator = np.random.default_rng(0)
    originals = generator.random((10, 28, 28))
    return ShownImages(
        originals, generator.random((10, code_size)), originals[:, ::-1], generator.random(10)
    )


@pytest.mark.parametrize(
    ("code_size", "shape"), [(32, (8, 4)), (1, (1, 1)), (7, (7, 1)), (64, (16, 4)), (50, (10, 5))]
)
def test_a_code_is_shown_as_a_tile(code_size: int, shape: tuple[int, int]) -> None:
    assert tile_shape(code_size) == shape


def test_the_lab_figure_has_the_lab_s_size(tmp_path: Path) -> None:
    draw_lab_figure(images(), tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (400, 1800)


def test_the_lab_figure_shows_originals_in_true_grey(tmp_path: Path) -> None:
    flat = images()._replace(originals=np.full((10, 28, 28), 0.5))
    draw_lab_figure(flat, tmp_path / "figure.png")
    grey = imread(tmp_path / "figure.png")[60, :, 0]
    assert np.isclose(grey, 0.5, atol=0.01).sum() > 500


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shown = {"PCA-32": images(), "deep": images(7)}
        draw_comparison(images().originals, shown, tmp_path / f"{name}1.png")
        draw_extremes("deep", images(), images(), tmp_path / f"{name}2.png")
        draw_lab_figure(images(), tmp_path / f"{name}3.png")
    for number in (1, 2, 3):
        left, right = (tmp_path / f"{name}{number}.png" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_too_bright_is_red_and_too_dark_is_blue(tmp_path: Path) -> None:
    originals = np.full((2, 20, 20), 0.5)
    restored = np.stack([np.full((20, 20), 0.9), np.full((20, 20), 0.1)])
    shown = ShownImages(originals, np.zeros((2, 4)), restored, np.zeros(2))
    draw_comparison(originals, {"deep": shown}, tmp_path / "figure.png")
    picture = imread(tmp_path / "figure.png")[..., :3]
    left, right = picture[:, 150:600], picture[:, 600:1050]  # of the two columns
    red = (left[..., 0] - left[..., 2] > 0.4).sum()
    blue = (right[..., 2] - right[..., 0] > 0.4).sum()
    assert red > 20_000
    assert blue > 20_000
    assert (left[..., 2] - left[..., 0] > 0.4).sum() == 0


def test_images_have_any_shape(tmp_path: Path) -> None:
    tall = images()._replace(
        originals=np.zeros((3, 40, 16)), reconstructions=np.zeros((3, 40, 16)), errors=np.zeros(3)
    )
    draw_extremes("deep", tall, tall, tmp_path / "figure.png")
    height, width = imread(tmp_path / "figure.png").shape[:2]
    assert height / width == pytest.approx((40 + GAP) * 4 / ((16 + GAP) * 3), rel=0.25)
