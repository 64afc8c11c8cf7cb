from pathlib import Path

import numpy as np

from tasks.evaluation.records import Baselines, PcaScores
from tasks.sweeps.chart import draw_sweep
from tasks.sweeps.records import Summary
from tests.conftest import BASELINES
from tests.pictures import read_colors

SUMMARIES = [
    Summary("shallow", 8, [0.33, 0.32], [0.030, 0.031]),
    Summary("shallow", 24, [0.29, 0.30], [0.014, 0.015]),
    Summary("tiny", 8, [0.35], [0.033]),
]
PCA = tuple(
    PcaScores(components=size, mse=mse, psnr=18.5, ssim=0.6, probes=None)
    for size, mse in ((24, 0.018), (8, 0.0264))
)
PIXELS = BASELINES.pixels.model_copy(update={"entropy_floor": 0.2422})
COMPARED = Baselines(pixels=PIXELS, pca=PCA)


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_sweep(SUMMARIES, COMPARED, tmp_path / f"{name}.png")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_every_series_and_code_size_is_named(tmp_path: Path) -> None:
    draw_sweep(SUMMARIES, COMPARED, tmp_path / "sweep.png")
    drawn = (tmp_path / "sweep.svg").read_text()
    for text in (">shallow<", ">tiny<", ">PCA<", ">entropy floor 0.2422<", ">8<", ">24<"):
        assert text in drawn


def test_a_single_code_size_is_drawn_too(tmp_path: Path) -> None:
    draw_sweep(SUMMARIES[:1], Baselines(pixels=PIXELS, pca=PCA[1:]), tmp_path / "one.png")
    blue = np.array([0x00, 0x72, 0xB2]) / 255
    assert np.isclose(read_colors(tmp_path / "one.png"), blue, atol=0.02).all(axis=2).any()
