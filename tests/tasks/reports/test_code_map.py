import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from tasks.reports.code_map import CLASS_COLORS, NAMED_CLASSES, draw_map
from tasks.reports.style import Array

NAMES = {0: "bag", 3: "$x$ & <b>", 7: "coat"}
WORTH = "effective dimension 2.0 of 8"
LABELS = np.array([0, 3, 7] * 20)


def codes(count: int = 60) -> Array:
    return np.random.default_rng(0).random((count, 5)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        draw_map("deep", codes(), LABELS, NAMES, WORTH, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_shares_are_those_of_the_variance(tmp_path: Path) -> None:
    spread = np.random.default_rng(0).normal(size=(5000, 3)) * (1, 3, 2)
    shares = draw_map("deep", spread, None, {}, WORTH, tmp_path / "map.svg")
    np.testing.assert_allclose(shares, [9 / 14, 4 / 14], rtol=0.1)
    drawn = (tmp_path / "map.svg").read_text()
    assert f"({shares[0]:.0%} of the variance)" in drawn
    assert f">{WORTH}<" in drawn


def test_equal_codes_are_drawn_in_one_place(tmp_path: Path) -> None:
    shares = draw_map("deep", np.ones((50, 4), np.float32), None, {}, WORTH, tmp_path / "map.png")
    assert shares.tolist() == [0, 0]
    drawn = imread(tmp_path / "map.png")[..., :3]
    assert np.isclose(drawn, 0.35, atol=0.01).all(axis=2).sum() > 20


def test_codes_without_classes_are_drawn_in_grey(tmp_path: Path) -> None:
    draw_map("deep", codes(), None, {}, WORTH, tmp_path / "map.png")
    colours = imread(tmp_path / "map.png")[..., :3]
    assert np.allclose(colours.max(axis=2), colours.min(axis=2), atol=0.02)
    assert np.isclose(colours, 0.35, atol=0.01).all(axis=2).sum() > 60 * 20


def test_every_class_has_its_colour_and_its_name(tmp_path: Path) -> None:
    draw_map("deep", codes(), LABELS, NAMES, WORTH, tmp_path / "map.png")
    colours = imread(tmp_path / "map.png")[..., :3]
    for color in CLASS_COLORS[:3]:
        assert np.isclose(colours, to_rgb(color), atol=0.02).all(axis=2).sum() > 20 * 20
    draw_map("deep", codes(), LABELS, NAMES, WORTH, tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert all(drawn.count(f">{name}<") == 1 for name in ("bag", "$x$ &amp; &lt;b&gt;", "coat"))


@pytest.mark.parametrize("classes", [1, 30, 50])
def test_names_do_not_overlap(classes: int, tmp_path: Path) -> None:
    names = {number: f"class-{number}" for number in range(classes)}
    labels = np.arange(4 * classes) % classes
    draw_map("deep", codes(4 * classes), labels, names, WORTH, tmp_path / "map.svg")
    places = re.findall(
        r'x="([\d.]+)" y="([\d.]+)"[^>]*>class-', (tmp_path / "map.svg").read_text()
    )
    assert len(places) == min(classes, NAMED_CLASSES)
    columns: dict[str, list[float]] = {}
    for x, y in places:
        columns.setdefault(x, []).append(float(y))
    for heights in columns.values():
        assert (np.diff(sorted(heights)) > 12).all()  # points; the letters have 12
