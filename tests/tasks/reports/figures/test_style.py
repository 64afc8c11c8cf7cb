import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tasks.reports.colors import color_of
from tasks.reports.figures.style import (
    DPI,
    LONGEST_NAME,
    NARROWEST,
    new_figure,
    plain,
    shown_aspect,
)
from tests.pictures import read_colors


def test_dollar_signs_in_names_are_no_mathematics() -> None:
    assert plain("$x$") == r"\$x\$"
    Figure().suptitle(plain("$\\frac$"))


def test_a_long_name_is_shortened() -> None:
    assert plain("n" * LONGEST_NAME) == "n" * LONGEST_NAME
    assert plain("n" * 100) == "n" * (LONGEST_NAME - 1) + "…"


def test_a_model_has_its_colour_at_any_position() -> None:
    assert color_of("deep", 0) == color_of("deep", 5) != color_of("shallow", 0)
    assert color_of("mine", 3) != color_of("mine", 4)


@pytest.mark.parametrize(
    ("shape", "aspect"),
    [((28, 28), 1), ((20, 40, 3), 0.5), ((200, 3), NARROWEST), ((3, 200), 1 / NARROWEST)],
)
def test_only_narrow_images_are_stretched(shape: tuple[int, ...], aspect: float) -> None:
    assert shown_aspect(np.zeros((1, *shape))) == pytest.approx(aspect)


def draw(*paths: Path) -> None:
    """A figure with texts on all sides of its axes."""
    with new_figure((3, 2), *paths) as figure:
        left, right = figure.subplots(1, 2)
        left.plot([1, 2, 1000], label="curve")
        left.set(xlabel="below", ylabel="a long text, " * 5)
        right.set_title("a title that is wider than the axes")
        right.text(1.5, 0.5, "far away", transform=right.transAxes)


def test_a_figure_has_all_that_is_around_its_axes_and_a_margin(tmp_path: Path) -> None:
    draw(tmp_path / "figure.png")
    picture = read_colors(tmp_path / "figure.png")
    height, width = picture.shape[:2]
    assert height > 4 * DPI, "the long text is higher than the axes"
    assert width > 4 * DPI
    rows, columns = np.nonzero((picture < 1).any(axis=2))
    margin = round(0.1 * DPI)
    drawn = [rows.min(), height - 1 - rows.max(), columns.min(), width - 1 - columns.max()]
    assert min(drawn) >= margin - 2
    assert max(drawn) < 2 * margin


def test_a_figure_is_drawn_once_without_transparency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = []
    whole: Callable[..., None] = Figure.draw

    def count(figure: Figure, renderer: Any) -> None:
        draws.append(figure)
        whole(figure, renderer)

    monkeypatch.setattr(Figure, "draw", count)
    draw(tmp_path / "figure.png")
    assert len(draws) == 1
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.mode == "RGB", "curves have colours"
        assert picture.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)


def test_a_figure_without_colours_is_written_in_greys(tmp_path: Path) -> None:
    with new_figure((2, 1), tmp_path / "figure.png") as figure:
        figure.text(0.5, 0.5, "black")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.mode == "L"


def test_two_formats_have_one_size(tmp_path: Path) -> None:
    draw(tmp_path / "figure.png", tmp_path / "figure.svg")
    size = re.search(
        r'width="([\d.]+)pt" height="([\d.]+)pt"', (tmp_path / "figure.svg").read_text()
    )
    assert size
    height, width = read_colors(tmp_path / "figure.png").shape[:2]
    inches = [float(points) / 72 for points in size.groups()]
    assert inches == pytest.approx([width / DPI, height / DPI], rel=1e-3)
