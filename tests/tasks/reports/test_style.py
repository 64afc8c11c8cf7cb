import numpy as np
import pytest
from matplotlib.figure import Figure

from tasks.reports.style import LONGEST_NAME, NARROWEST, color_of, plain, shown_aspect


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
