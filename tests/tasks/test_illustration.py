from pathlib import Path

import numpy as np

from tasks.illustration import draw_figures, lab_rows
from tasks.models import ModelRecord
from tasks.records import DatasetRecord


def test_shows_the_images_the_lab_shows() -> None:
    """The rows that the lab's own lines give, `np.random.seed(...)` and `np.random.randint`."""
    np.random.seed(50)
    assert np.array_equal(lab_rows(10_000, "shallow"), np.random.randint(10_000, size=10))
    np.random.seed(42)
    assert np.array_equal(lab_rows(10_000, "deep"), np.random.randint(10_000, size=10))


def test_draws_every_figure(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    deep = model.model_copy(update={"name": "deep"})
    draw_figures(dataset, [model, deep], root / "figures", root)
    assert sorted(path.name for path in (root / "figures").iterdir()) == [
        "comparison.png",
        "deep.png",
        "learning-curves.png",
        "shallow.png",
    ]
