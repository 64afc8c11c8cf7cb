import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from tasks.reports.code_map import NAMED_CLASSES, draw_map, move_apart
from tasks.reports.style import Array

SHARES = np.array([0.5, 0.2])
NAMES = ["bag", "$x$ & <b>", "coat"]


def points(count: int = 50) -> Array:
    return np.random.default_rng(0).random((count, 2))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        path = tmp_path / f"{name}{suffix}"
        draw_map("deep", points(), SHARES, NAMES, path, np.arange(50) % 3)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_codes_without_classes_are_drawn_in_grey(tmp_path: Path) -> None:
    draw_map("deep", points(), SHARES, [], tmp_path / "map.png", None)
    colours = imread(tmp_path / "map.png")[..., :3]
    assert np.allclose(colours.max(axis=2), colours.min(axis=2), atol=0.02)


def test_no_name_is_lost_where_all_classes_lie_in_one_place(tmp_path: Path) -> None:
    names = [f"class-{number}" for number in range(10)]
    same = np.repeat(points(10), 10, axis=0)
    draw_map("deep", same, SHARES, names, tmp_path / "map.svg", np.tile(np.arange(10), 10))
    drawn = (tmp_path / "map.svg").read_text()
    heights = [float(re.findall(rf'y="([\d.]+)"[^>]*>{name}<', drawn)[0]) for name in names]
    assert np.diff(sorted(heights)).min() > 12


def test_of_many_classes_some_are_named(tmp_path: Path) -> None:
    names = [f"class-{number}" for number in range(50)]
    draw_map("deep", points(100), SHARES, names, tmp_path / "map.svg", np.arange(100) % 50)
    assert (tmp_path / "map.svg").read_text().count(">class-") == NAMED_CLASSES


def overlapping(centres: Array, sizes: Array) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one, other in combinations(range(len(centres)), 2)
        if (np.abs(centres[one] - centres[other]) < (sizes[one] + sizes[other]) / 2 - 1e-3).all()
    ]


@given(st.lists(st.tuples(*[st.floats(0, 500)] * 2), min_size=1, max_size=10))
def test_boxes_are_moved_until_none_overlap(places: list[tuple[float, float]]) -> None:
    centres, sizes = np.array(places), np.full((len(places), 2), (60.0, 20.0))
    moved = move_apart(centres, sizes)
    assert not overlapping(moved, sizes)
    assert np.array_equal(moved[:, 0], centres[:, 0])


def test_boxes_that_do_not_overlap_stay() -> None:
    centres = np.array([(0.0, 0.0), (100.0, 0.0), (0.0, 30.0)])
    assert np.array_equal(move_apart(centres, np.full((3, 2), (60.0, 20.0))), centres)
