from pathlib import Path

import numpy as np
import pytest

from tasks.core.records import SPLITS, DatasetRecord, FigureRecord
from tasks.core.storage import describe_file, write_bytes
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.records import Metrics
from tasks.models.store import ModelRecord
from tasks.reports.figures.drawing import draw_figures
from tests.conftest import METRICS, codes_file
from tests.pictures import read_colors


def draw(
    model: ModelRecord, dataset: DatasetRecord, metrics: Metrics, root: Path
) -> list[FigureRecord]:
    obtain_baselines(dataset, {32}, root)
    for split in SPLITS:
        path = root / "run" / "codes" / f"{split}.h5"
        write_bytes(path, codes_file(split, model, dataset, root))
    codes = {split: describe_file(root / "run", f"codes/{split}.h5") for split in SPLITS}
    return draw_figures(dataset, [model], {"shallow": metrics}, codes, root / "run", root)


def test_draws_every_figure_and_says_what_it_shows(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    figures = draw(model, dataset, METRICS, root)
    assert [figure.path for figure in figures] == [
        "figures/comparison.png",
        "figures/learning-curves.png",
        "figures/classes.png",
        "figures/nearest.png",
        "figures/walks.png",
        "figures/extremes-shallow.png",
        "figures/activity-shallow.png",
        "figures/map-shallow.png",
        "figures/neighbors-shallow.png",
        "figures/codes-shallow.png",
    ]
    for figure in figures:
        assert np.ptp(read_colors(root / "run" / figure.path)) == pytest.approx(1, abs=0.1)
    drawn = {path.name for path in (root / "run" / "figures").iterdir()}
    charts = {"learning-curves.svg", "classes.svg"}
    assert drawn == {Path(figure.path).name for figure in figures} | charts
    texts = {Path(figure.path).stem: figure.text for figure in figures}
    assert "PCA-32 0.0" in texts["comparison"]
    assert "after 2 epochs" in texts["learning-curves"]
    assert f"largest for {dataset.class_name(0)}" in texts["classes"]
    assert "32 of 32 code units carry information" in texts["activity-shallow"]
    assert "Coloured by class" in texts["map-shallow"]
    assert "classes of the training images lie farthest apart" in texts["map-shallow"]
    assert "5 nearest of 512 training images" in texts["neighbors-shallow"]
    curves = (root / "run" / "figures" / "learning-curves.svg").read_text()
    assert f">entropy floor {METRICS.entropy_floor:.4f}, below<" in curves
    assert "reference notebook" not in curves, "these are not the images of the notebook"
    classes = (root / "run" / "figures" / "classes.svg").read_text()
    assert all(f">{dataset.class_name(found.label)}<" in classes for found in METRICS.classes)


def test_without_labels_there_is_no_chart_of_classes(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    unlabelled = METRICS.model_copy(update={"classes": (), "probes": None})
    figures = draw(model, dataset, unlabelled, root)
    assert "figures/classes.png" not in [figure.path for figure in figures]
