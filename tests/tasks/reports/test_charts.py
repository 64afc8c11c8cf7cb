import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from tasks.core.records import EpochRecord
from tasks.reports.charts import ALIVE, DEAD, draw_classes, draw_learning_curves, draw_units
from tasks.reports.style import COLORS


def history(training: list[float], validation: list[float]) -> tuple[EpochRecord, ...]:
    pairs = zip(training, validation, strict=True)
    return tuple(EpochRecord(loss=loss, validation_loss=after) for loss, after in pairs)


HISTORIES = {
    "shallow": history([0.35, 0.30, 0.29], [0.32, 0.295, 0.288]),
    "deep": history([0.36, 0.31, 0.28], [0.33, 0.30, 0.275]),
}
REFERENCES = {"shallow": 0.2842}
ERRORS = {"shallow": [0.01, 0.03, 0.02], "deep": [0.008, 0.02, 0.015]}
WORTH = "effective dimension 2.0 of 4"
NAMES = ["bag", "$x$ & <b>", "coat"]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        draw_learning_curves(HISTORIES, REFERENCES, 0.2422, [tmp_path / f"{name}1{suffix}"])
        draw_classes(NAMES, ERRORS, [tmp_path / f"{name}2{suffix}"])
        draw_units(
            "deep", np.ones(4), np.arange(4) > 1, np.eye(4), WORTH, tmp_path / f"{name}3{suffix}"
        )
    for number in (1, 2, 3):
        left, right = (tmp_path / f"{name}{number}{suffix}" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_the_reference_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    draw_learning_curves(HISTORIES, REFERENCES, 0.2422, [tmp_path / "with.svg"])
    draw_learning_curves(HISTORIES, {}, 0.2422, [tmp_path / "without.svg"])
    assert "0.2842" in (tmp_path / "with.svg").read_text()
    assert "0.2842" not in (tmp_path / "without.svg").read_text()


def test_a_single_epoch_is_drawn_as_points(tmp_path: Path) -> None:
    draw_learning_curves({"deep": history([0.35], [0.32])}, {}, 0.2422, [tmp_path / "one.png"])
    vermilion = np.array([0xD5, 0x5E, 0x00]) / 255
    picture = imread(tmp_path / "one.png")[150:, :900, :3]
    assert np.isclose(picture, vermilion, atol=0.02).all(axis=2).any()


def test_the_hardest_class_is_on_top_and_names_are_plain_text(tmp_path: Path) -> None:
    draw_classes(NAMES, ERRORS, [tmp_path / "classes.svg"])
    drawn = (tmp_path / "classes.svg").read_text()
    assert "$x$ &amp; &lt;b&gt;" in drawn
    assert drawn.index(">bag<") < drawn.index(">coat<") < drawn.index(">$x$")


def test_dead_units_are_told_apart(tmp_path: Path) -> None:
    alive = np.array([True, True, False])
    draw_units("deep", np.array([0.9, 0.5, 0.0]), alive, np.eye(3), WORTH, tmp_path / "some.svg")
    draw_units(
        "deep", np.array([0.9, 0.5, 0.4]), alive | True, np.eye(3), WORTH, tmp_path / "all.svg"
    )
    assert "2 of 3 code units carry information" in (tmp_path / "some.svg").read_text()
    assert "carries no information" in (tmp_path / "some.svg").read_text()
    assert "carries no information" not in (tmp_path / "all.svg").read_text()


@pytest.mark.parametrize("epochs", [1, 2, 20, 50])
def test_epochs_are_whole_and_begin_at_one(epochs: int, tmp_path: Path) -> None:
    flat = {"deep": history([0.3] * epochs, [0.31] * epochs)}
    draw_learning_curves(flat, {}, 0.2422, [tmp_path / "curves.svg"])
    axis = (tmp_path / "curves.svg").read_text().partition('id="matplotlib.axis_1"')[2]
    ticks = re.findall(r">([\d.]+)</text>", axis.partition('id="matplotlib.axis_2"')[0])
    assert ticks
    assert all(tick.isdigit() and 1 <= int(tick) <= epochs for tick in ticks)


def test_correlations_are_labelled(tmp_path: Path) -> None:
    draw_units("deep", np.ones(4), np.ones(4, bool), np.eye(4), WORTH, tmp_path / "units.svg")
    drawn = (tmp_path / "units.svg").read_text()
    assert "Pearson correlation" in drawn
    assert drawn.count("code unit, in the same order") == 2
    assert f">deep: {WORTH}<" in drawn


def test_bars_and_correlations_have_the_colours_of_their_values(tmp_path: Path) -> None:
    """Two units of three are alive; all correlate by 1, so that half of the picture is dark red."""
    alive, activity = np.array([True, True, False]), np.array([0.9, 0.5, 0.4])
    draw_units("deep", activity, alive, np.ones((3, 3)), WORTH, tmp_path / "units.png")
    picture = imread(tmp_path / "units.png")[..., :3]
    blue, vermilion, red = (
        np.isclose(picture, to_rgb(color), atol=0.02).all(axis=2).sum()
        for color in (ALIVE, DEAD, mpl.colormaps["RdBu_r"](1.0))
    )
    assert blue / vermilion == pytest.approx((0.9 + 0.5) / 0.4, rel=0.05)
    assert red > 0.1 * picture[..., 0].size


def test_the_chart_of_classes_holds_every_marker(tmp_path: Path) -> None:
    draw_classes(["one"], {"shallow": [0.02], "deep": [0.01]}, [tmp_path / "classes.png"])
    picture = imread(tmp_path / "classes.png")[..., :3]
    for model in ("shallow", "deep"):
        drawn = np.isclose(picture, to_rgb(COLORS[model]), atol=0.02).all(axis=2)
        places = np.flatnonzero(drawn.any(axis=0))
        chart, legend = np.split(places, [1 + np.diff(places).argmax()])
        assert np.ptp(chart) == pytest.approx(np.ptp(legend), abs=2), "none is cut off"
