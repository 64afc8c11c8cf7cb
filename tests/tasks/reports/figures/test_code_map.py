import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tasks.reports.figures.code_map import CLASS_COLORS, NAMED_CLASSES, draw_map
from tasks.reports.figures.projection import Plane, project_codes
from tasks.reports.figures.style import Array
from tests.pictures import read_colors

NAMES = {0: "bag", 3: "$x$ & <b>", 7: "coat"}
WORTH = "effective dimension 2.0 of 8"
LABELS = np.array([0, 3, 7] * 20)


def plane(count: int = 60) -> Plane:
    return project_codes(codes(), LABELS, codes(count))


def codes(count: int = 60) -> Array:
    return np.random.default_rng(0).random((count, 5)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        draw_map("deep", plane(), LABELS, NAMES, WORTH, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_axes_and_worth_are_written_beside_the_map(tmp_path: Path) -> None:
    draw_map("deep", plane(), LABELS, NAMES, WORTH, tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text().replace("&apos;", "'")
    for text in (*plane().axes, WORTH, "Codes of the deep model, 60 test images"):
        assert f">{text}<" in drawn


def test_equal_codes_are_drawn_in_one_place(tmp_path: Path) -> None:
    ones = np.ones((50, 4), np.float32)
    draw_map("deep", project_codes(ones, None, ones), None, {}, WORTH, tmp_path / "map.png")
    drawn = read_colors(tmp_path / "map.png")
    assert np.isclose(drawn, 0.35, atol=0.01).all(axis=2).sum() > 20


def test_codes_without_classes_are_drawn_in_grey(tmp_path: Path) -> None:
    draw_map("deep", plane(), None, {}, WORTH, tmp_path / "map.png")
    colours = read_colors(tmp_path / "map.png")
    assert np.allclose(colours.max(axis=2), colours.min(axis=2), atol=0.02)
    assert np.isclose(colours, 0.35, atol=0.01).all(axis=2).sum() > 60 * 20


def test_every_class_has_its_colour_and_its_name(tmp_path: Path) -> None:
    draw_map("deep", plane(), LABELS, NAMES, WORTH, tmp_path / "map.png")
    colours = read_colors(tmp_path / "map.png")
    for color in CLASS_COLORS[:3]:
        assert np.isclose(colours, to_rgb(color), atol=0.02).all(axis=2).sum() > 20 * 20
    draw_map("deep", plane(), LABELS, NAMES, WORTH, tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert all(drawn.count(f">{name}<") == 1 for name in ("bag", "$x$ &amp; &lt;b&gt;", "coat"))


@pytest.mark.parametrize("classes", [1, 30, 50])
def test_names_do_not_overlap(classes: int, tmp_path: Path) -> None:
    names = {number: f"class-{number}" for number in range(classes)}
    labels = np.arange(4 * classes) % classes
    draw_map("deep", plane(4 * classes), labels, names, WORTH, tmp_path / "map.svg")
    places = re.findall(
        r'x="([\d.]+)" y="([\d.]+)"[^>]*>class-', (tmp_path / "map.svg").read_text()
    )
    assert len(places) == min(classes, NAMED_CLASSES)
    columns: dict[str, list[float]] = {}
    for x, y in places:
        columns.setdefault(x, []).append(float(y))
    for heights in columns.values():
        assert (np.diff(sorted(heights)) > 12).all()  # points; the letters have 12
