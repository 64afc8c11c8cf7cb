from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.reports.style import DPI, ShownImages, draw_lab_figure, plain, tile_shape


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
    assert imread(tmp_path / "figure.png").shape[:2] == (4 * DPI, 18 * DPI)


def test_the_lab_figure_shows_originals_in_true_grey(tmp_path: Path) -> None:
    flat = images()._replace(originals=np.full((10, 28, 28), 0.5))
    draw_lab_figure(flat, tmp_path / "figure.png")
    grey = imread(tmp_path / "figure.png")[90, :, 0]
    assert np.isclose(grey, 0.5, atol=0.01).sum() > 750


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_lab_figure(images(), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_all_codes_of_the_lab_figure_are_on_one_scale(tmp_path: Path) -> None:
    """The second code is half of the first: white, and grey."""
    codes = np.stack([np.full(32, 6.0), np.full(32, 3.0)])
    blank = np.zeros((2, 28, 28))
    draw_lab_figure(ShownImages(blank, codes, blank, np.zeros(2)), tmp_path / "figure.png")
    row = imread(tmp_path / "figure.png")[2 * DPI, : 16 * DPI, 0]
    assert np.isclose(row, 0.5, atol=0.02).sum() > 30
    assert np.isclose(row, 0.0, atol=0.02).sum() < 30, "no code begins at its own least value"


def test_codes_that_are_zero_throughout_are_drawn(tmp_path: Path) -> None:
    draw_lab_figure(images()._replace(codes=np.zeros((10, 32))), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_dollar_signs_in_names_are_no_mathematics() -> None:
    assert plain("$x$") == r"\$x\$"
