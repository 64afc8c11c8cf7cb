from pathlib import Path

import numpy as np

from tasks.core.records import DatasetRecord
from tasks.core.storage import write_bytes
from tasks.evaluation.baselines import obtain_baselines
from tasks.models.store import ModelRecord
from tasks.reports.figures import Illustrator, lab_rows
from tasks.runs.building import building_folder
from tests.conftest import METRICS, codes_file


def test_shows_the_images_the_lab_shows() -> None:
    """The rows that the lab's own lines give, `np.random.seed(...)` and `np.random.randint`."""
    np.random.seed(50)
    assert np.array_equal(lab_rows(10_000, "shallow"), np.random.randint(10_000, size=10))
    np.random.seed(42)
    assert np.array_equal(lab_rows(10_000, "deep"), np.random.randint(10_000, size=10))


def test_draws_every_figure_and_says_what_it_shows(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    obtain_baselines(dataset, {32}, root)
    folder = building_folder("run-1", root)
    write_bytes(folder / "codes" / "test.h5", codes_file("test", model, dataset, root))
    figures = Illustrator(dataset, [model], {"shallow": METRICS}, folder, root).draw_all()
    assert [figure.path for figure in figures] == [
        "figures/comparison.png",
        "figures/learning-curves.png",
        "figures/classes.png",
        "figures/extremes-shallow.png",
        "figures/activity-shallow.png",
        "figures/map-shallow.png",
        "figures/codes-shallow.png",
    ]
    charts = ["figures/learning-curves.svg", "figures/classes.svg"]
    for path in [*(figure.path for figure in figures), *charts]:
        assert (folder / path).stat().st_size > 1000
    texts = {figure.path: figure.text for figure in figures}
    assert "PCA-32 0.0" in texts["figures/comparison.png"]
    assert "in 2 epochs" in texts["figures/learning-curves.png"]
    assert "coloured by class" in texts["figures/map-shallow.png"]
