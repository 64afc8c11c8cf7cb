from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.reports.lab_figure import draw_lab_figure, lab_rows, tile_shape
from tasks.reports.style import Array, ShownImages


def images(codes: Array) -> ShownImages:
    blank = np.zeros((len(codes), 28, 28))
    return ShownImages(blank, codes, blank, np.zeros(len(codes)))


def draw(shown: ShownImages, path: Path) -> Array:
    """Colours of the figure without its bar, which has all greys."""
    draw_lab_figure("deep", shown, path)
    picture = np.asarray(imread(path)[..., :3])
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


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).random((10, 32))
    for name in ("a", "b"):
        draw_lab_figure("deep", images(codes), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_originals_and_reconstructions_have_their_own_greys(tmp_path: Path) -> None:
    shown = images(np.zeros((4, 32)))._replace(
        originals=np.full((4, 28, 28), 0.4), reconstructions=np.full((4, 28, 28), 0.6)
    )
    picture = draw(shown, tmp_path / "figure.png")
    assert count_grey(picture, 0.4) > 10_000
    assert count_grey(picture, 0.4) == pytest.approx(count_grey(picture, 0.6), rel=0.05)


def test_all_codes_are_on_one_scale(tmp_path: Path) -> None:
    """The second code is half of the first: white, and grey."""
    both = draw(images(np.stack([np.full(32, 6.0), np.full(32, 3.0)])), tmp_path / "both.png")
    grey, black = count_grey(both, 0.5), count_grey(both, 0.0)
    assert grey > 5_000
    none = draw(images(np.full((2, 32), 6.0)), tmp_path / "white.png")
    assert count_grey(none, 0.5) < grey / 10
    assert count_grey(none, 0.0) == pytest.approx(black, rel=0.05)


def test_codes_that_are_zero_throughout_are_black(tmp_path: Path) -> None:
    zero = draw(images(np.zeros((2, 32))), tmp_path / "zero.png")
    white = draw(images(np.full((2, 32), 6.0)), tmp_path / "white.png")
    assert count_grey(zero, 0.0) > count_grey(white, 0.0) + 10_000
