import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tasks.core.records import EpochRecord
from tasks.reports.colors import COLORS
from tasks.reports.figures.charts import DEAD, draw_classes, draw_learning_curves, draw_units
from tasks.reports.figures.style import Array
from tests.pictures import read_colors


def codes() -> Array:
    """200 codes with four units; the last one is dead, the third is active half of the time."""
    normal = np.random.default_rng(0).normal((5, 3, 0, 0), (1, 0.5, 1, 0), (200, 4))
    return np.maximum(normal, 0).astype(np.float32)


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
        draw_units("deep", codes(), WORTH, tmp_path / f"{name}3{suffix}")
    for number in (1, 2, 3):
        left, right = (tmp_path / f"{name}{number}{suffix}" for name in ("a", "b"))
        assert left.read_bytes() == right.read_bytes()


def test_the_reference_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    draw_learning_curves(HISTORIES, REFERENCES, 0.2422, [tmp_path / "with.svg"])
    draw_learning_curves(HISTORIES, {}, 0.2422, [tmp_path / "without.svg"])
    assert "0.2842" in (tmp_path / "with.svg").read_text()
    assert "0.2842" not in (tmp_path / "without.svg").read_text()


def test_every_line_ends_with_its_last_value_and_labels_do_not_overlap(tmp_path: Path) -> None:
    alike = {"shallow": HISTORIES["deep"], "deep": HISTORIES["deep"]}
    draw_learning_curves(alike, {"deep": 0.2752}, 0.2422, [tmp_path / "curves.svg"])
    drawn = (tmp_path / "curves.svg").read_text()
    heights = []
    for text in ("shallow 0.2750", "deep 0.2750", "deep, reference notebook 0.2752"):
        (height,) = re.findall(rf'y="([\d.]+)"[^>]*>{text}<', drawn)
        heights.append(float(height))
    assert min(np.diff(sorted(heights))) > 12, "as high as the letters"


@pytest.mark.parametrize(("others", "words"), [(0.0, "almost nothing"), (0.995, "most")])
def test_the_title_says_what_the_correlations_say(
    others: float, words: str, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    own, common = generator.random((2_000, 4)), generator.random((2_000, 1))
    mixed = (1 - others) * own + others * common
    draw_units("deep", mixed.astype(np.float32), WORTH, tmp_path / "units.svg")
    assert f"Units share {words} (mean correlation" in (tmp_path / "units.svg").read_text()


def test_a_single_epoch_is_drawn_as_points(tmp_path: Path) -> None:
    draw_learning_curves({"deep": history([0.35], [0.32])}, {}, 0.2422, [tmp_path / "one.png"])
    vermilion = np.array([0xD5, 0x5E, 0x00]) / 255
    picture = read_colors(tmp_path / "one.png")[150:, :900]
    assert np.isclose(picture, vermilion, atol=0.02).all(axis=2).any()


def test_the_hardest_class_is_on_top_and_names_are_plain_text(tmp_path: Path) -> None:
    draw_classes(NAMES, ERRORS, [tmp_path / "classes.svg"])
    drawn = (tmp_path / "classes.svg").read_text()
    assert "$x$ &amp; &lt;b&gt;" in drawn
    assert drawn.index(">bag<") < drawn.index(">coat<") < drawn.index(">$x$")


def test_dead_units_are_told_apart(tmp_path: Path) -> None:
    draw_units("deep", codes(), WORTH, tmp_path / "some.svg")
    draw_units("deep", codes()[:, :3], WORTH, tmp_path / "all.svg")
    assert "3 of 4 code units carry information" in (tmp_path / "some.svg").read_text()
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


def test_the_charts_of_units_are_labelled(tmp_path: Path) -> None:
    draw_units("deep", codes(), WORTH, tmp_path / "units.svg")
    drawn = (tmp_path / "units.svg").read_text()
    assert "Pearson correlation" in drawn
    assert drawn.count("code unit, most active first") == 3
    assert f">deep: {WORTH}<" in drawn
    limit = 0.01 * np.median(codes().std(axis=0))
    assert f">least of a live unit, {limit:.2g}<" in drawn


def test_a_unit_that_is_rarely_active_is_dead_however_it_spreads(tmp_path: Path) -> None:
    rare = codes()[:, :3]
    rare[:, 2] = 0
    rare[0, 2] = 100
    draw_units("deep", rare, WORTH, tmp_path / "units.svg")
    drawn = (tmp_path / "units.svg").read_text()
    assert "2 of 3 code units carry information" in drawn
    assert len(bar_heights(drawn)) == 3 * 2 + 1, "and the legend's"


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (40, 600)])
def test_units_of_codes_of_any_shape_are_drawn(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    draw_units("deep", values, WORTH, tmp_path / "units.png")
    draw_units("deep", 0 * values, WORTH, tmp_path / "zero.png")
    assert np.ptp(read_colors(tmp_path / "units.png")) > 0.9


def bar_heights(drawn: str) -> list[float]:
    """Heights of the bars of live units in an SVG, in the order they are drawn."""
    paths = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {COLORS["deep"]}', drawn)
    corners = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path) for path in paths]
    return [float(np.ptp([float(y) for _, y in found])) for found in corners if len(found) == 4]


def test_bars_have_the_heights_of_their_values(tmp_path: Path) -> None:
    """Values of the first unit spread over twice the range of those of the second."""
    one = np.random.default_rng(0).random((500, 1))
    draw_units("deep", np.hstack([2 * one, one]) + 1, WORTH, tmp_path / "units.svg")
    heights = bar_heights((tmp_path / "units.svg").read_text())
    low, first, third, high = np.percentile(one, (1, 25, 75, 99))
    ninety_eight, half, spreads = heights[0:2], heights[2:4], heights[4:6]
    for pair in (ninety_eight, half, spreads):
        assert pair[0] / pair[1] == pytest.approx(2, rel=0.01)
    assert half[0] / ninety_eight[0] == pytest.approx((third - first) / (high - low), rel=0.01)


def test_units_that_are_one_are_dark_red_and_dead_ones_purple(tmp_path: Path) -> None:
    one = np.random.default_rng(0).random((500, 1)).astype(np.float32)
    draw_units("deep", np.hstack([one, one, 0 * one]), WORTH, tmp_path / "units.png")
    picture = read_colors(tmp_path / "units.png")
    purple, red = (
        np.isclose(picture, to_rgb(color), atol=0.02).all(axis=2).sum()
        for color in (DEAD, mpl.colormaps["RdBu_r"](1.0))
    )
    assert purple > 20
    # The square takes more than a sixth of the picture; four of its nine parts correlate by 1.
    assert red > 1 / 6 * 4 / 9 * picture[..., 0].size


def test_the_chart_of_classes_holds_every_marker(tmp_path: Path) -> None:
    draw_classes(["one"], {"shallow": [0.02], "deep": [0.01]}, [tmp_path / "classes.png"])
    picture = read_colors(tmp_path / "classes.png")
    for model in ("shallow", "deep"):
        drawn = np.isclose(picture, to_rgb(COLORS[model]), atol=0.02).all(axis=2)
        places = np.flatnonzero(drawn.any(axis=0))
        chart, legend = np.split(places, [1 + np.diff(places).argmax()])
        assert np.ptp(chart) == pytest.approx(np.ptp(legend), abs=2), "none is cut off"
