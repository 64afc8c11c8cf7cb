from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tasks.reports.colors import color_of
from tasks.reports.figures.style import (
    DPI,
    LONGEST_NAME,
    NARROWEST,
    STYLE,
    plain,
    save,
    shown_aspect,
)


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


def example(layout: Any) -> Figure:
    """A figure with what a layout has to find places for."""
    figure = Figure((4, 3), layout=layout)
    figure.suptitle("title")
    left, right = figure.subplots(1, 2)
    left.plot([1, 2, 1000], label="curve")
    left.set(xlabel="below", ylabel="beside")
    image = right.imshow(np.eye(3))
    figure.colorbar(image, ax=right, label="colours")
    if layout == "constrained":
        figure.legend(loc="outside right upper")
    return figure


@pytest.mark.parametrize(("layout", "cropped"), [("constrained", False), ("compressed", True)])
def test_a_figure_is_laid_out_as_by_matplotlib_but_drawn_once(
    layout: str, cropped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    draws = []
    draw: Callable[..., None] = Figure.draw

    def count(figure: Figure, renderer: Any) -> None:
        draws.append(figure)
        draw(figure, renderer)

    with mpl.rc_context(STYLE):
        box = "tight" if cropped else None
        metadata = {"Software": None}
        example(layout).savefig(theirs, dpi=DPI, metadata=metadata, bbox_inches=box)
        monkeypatch.setattr(Figure, "draw", count)
        save(example(layout), ours, cropped)
    assert ours.read_bytes() == theirs.read_bytes()
    assert len(draws) == 1


def test_a_second_format_is_laid_out_too(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.svg", tmp_path / "theirs.svg"
    with mpl.rc_context(STYLE):
        figure = example("constrained")
        for path in (tmp_path / "first.png", theirs):
            figure.savefig(path, dpi=DPI, metadata={"Date": None} if path == theirs else {})
        figure = example("constrained")
        for path in (tmp_path / "first.png", ours):
            save(figure, path)
    assert ours.read_bytes() == theirs.read_bytes()
