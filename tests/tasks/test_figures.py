from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tasks.figures import (
    Curve,
    ShownImages,
    draw_comparison,
    draw_lab_figure,
    draw_learning_curves,
    tile_shape,
)

CURVES = [
    Curve("shallow", [0.35, 0.30, 0.29], [0.32, 0.295, 0.288], 0.2842),
    Curve("deep", [0.36, 0.31, 0.28], [0.33, 0.30, 0.275], None),
]


def images(code_size: int = 32) -> ShownImages:
    generator = np.random.default_rng(0)
    originals = generator.random((10, 28, 28))
    return ShownImages(
        originals, generator.random((10, code_size)), originals[:, ::-1], generator.random(10)
    )


@pytest.mark.parametrize(
    ("code_size", "shape"), [(32, (8, 4)), (1, (1, 1)), (7, (7, 1)), (64, (16, 4)), (50, (10, 5))]
)
def test_a_code_is_shown_as_a_tile(code_size: int, shape: tuple[int, int]) -> None:
    assert tile_shape(code_size) == shape


def test_the_lab_figure_has_the_lab_s_size(tmp_path: Path) -> None:
    draw_lab_figure(images(), tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (400, 1800)


def test_the_lab_figure_shows_originals_in_true_grey(tmp_path: Path) -> None:
    flat = images()._replace(originals=np.full((10, 28, 28), 0.5))
    draw_lab_figure(flat, tmp_path / "figure.png")
    grey = imread(tmp_path / "figure.png")[60, :, 0]
    assert np.isclose(grey, 0.5, atol=0.01).sum() > 500


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_inputs_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        draw_learning_curves(CURVES, 0.2422, tmp_path / f"{name}{suffix}")
        draw_comparison({"shallow": images(), "deep": images(7)}, tmp_path / f"{name}2{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / f"a2{suffix}").read_bytes() == (tmp_path / f"b2{suffix}").read_bytes()


def test_the_published_value_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    draw_learning_curves(CURVES[:1], 0.2422, tmp_path / "with.svg")
    draw_learning_curves([CURVES[0]._replace(reference=None)], 0.2422, tmp_path / "without.svg")
    assert "0.2842" in (tmp_path / "with.svg").read_text()
    assert "0.2842" not in (tmp_path / "without.svg").read_text()


def test_a_single_epoch_is_drawn_as_points(tmp_path: Path) -> None:
    draw_learning_curves([Curve("deep", [0.35], [0.32], None)], 0.2422, tmp_path / "one.png")
    vermilion = np.array([0xD5, 0x5E, 0x00]) / 255
    picture = imread(tmp_path / "one.png")[100:, :600, :3]
    assert np.isclose(picture, vermilion, atol=0.02).all(axis=2).any()
