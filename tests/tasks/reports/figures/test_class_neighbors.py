import re
from pathlib import Path

import numpy as np
import pytest

from tasks.reports.figures.class_neighbors import (
    SHOWN_CLASSES,
    ClassNeighbors,
    count_neighbors,
    draw_class_neighbors,
)
from tasks.reports.figures.style import Array

NAMES = {3: "bag", 5: "$x$ & <b>", 7: "coat"}


def codes(labels: Array, places: dict[int, float]) -> Array:
    """Codes near the place of their class on a line."""
    noise = 0.1 * np.random.default_rng(len(labels)).random((len(labels), 2))
    line = np.array([[places[label], 0] for label in labels.tolist()])
    return (line + noise).astype(np.float32)


def test_shares_are_those_of_the_classes_of_the_nearest_images() -> None:
    """Classes 3 and 5 lie in one place, the images of 5 three times as often; class 7 is apart."""
    train_labels = np.array([3, 5, 5, 5] * 250 + [7] * 20)
    test_labels = np.array([3, 5, 7] * 200)
    places = {3: 0.0, 5: 0.0, 7: 9.0}
    found = count_neighbors(
        codes(train_labels, places), train_labels, codes(test_labels, places), test_labels
    )
    assert found.labels.tolist() == [3, 5, 7]
    expected = np.array([[0.25, 0.75, 0], [0.25, 0.75, 0], [0, 0, 1]])
    np.testing.assert_allclose(found.shares, expected, atol=0.1)
    assert found.hardest.tolist() == [0, 1, 2]


def test_a_class_without_test_images_has_no_shares() -> None:
    train_labels, test_labels = np.array([3, 5, 7] * 20), np.array([7, 3])
    places = {3: 0.0, 5: 4.0, 7: 9.0}
    found = count_neighbors(
        codes(train_labels, places), train_labels, codes(test_labels, places), test_labels
    )
    assert np.isnan(found.shares[1]).all()
    assert found.hardest.tolist() == [0, 2]
    assert found.shares[[0, 2]].tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_class_without_training_images_has_neighbours_of_others() -> None:
    train_labels, test_labels = np.array([3, 7] * 20), np.array([5, 3])
    places = {3: 0.0, 5: 8.0, 7: 9.0}
    found = count_neighbors(
        codes(train_labels, places), train_labels, codes(test_labels, places), test_labels
    )
    assert found.shares[1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    neighbors = ClassNeighbors(np.array([3, 5, 7]), np.eye(3))
    for name in ("a", "b"):
        draw_class_neighbors("deep", neighbors, NAMES, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_shares_and_names_are_written(tmp_path: Path) -> None:
    shares = np.array([[0.61, 0.388, 0.002], [0, 0.93, 0.07], [0, 0, 1]])
    draw_class_neighbors(
        "deep", ClassNeighbors(np.array([3, 5, 7]), shares), NAMES, tmp_path / "chart.svg"
    )
    drawn = (tmp_path / "chart.svg").read_text()
    assert all(drawn.count(f">{name}<") == 2 for name in ("bag", "$x$ &amp; &lt;b&gt;", "coat"))
    cells = [cell for cell in ("61", "39", "93", "7") if f">{cell}<" in drawn]
    assert cells == ["61", "39", "93", "7"]
    assert drawn.count(">0<") == 1, "the scale's, none in a cell"


def test_of_many_classes_the_hardest_are_shown(tmp_path: Path) -> None:
    own = np.linspace(0, 1, SHOWN_CLASSES + 5)
    neighbors = ClassNeighbors(np.arange(len(own)), np.diag(own))
    names = {label: f"class-{label}" for label in range(len(own))}
    draw_class_neighbors("deep", neighbors, names, tmp_path / "chart.svg")
    drawn = set(re.findall(r">(class-\d+)<", (tmp_path / "chart.svg").read_text()))
    assert drawn == {f"class-{label}" for label in range(SHOWN_CLASSES)}
