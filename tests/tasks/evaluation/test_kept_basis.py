from pathlib import Path

import numpy as np
import pytest

from tasks.codes.reader import open_codes
from tasks.core.records import DatasetRecord
from tasks.encoding.encoder import encode_split
from tasks.evaluation.kept_basis import measure_kept_basis, share_of_own_nearest
from tasks.evaluation.records import BasisMetrics
from tasks.models.obtain import obtain_model
from tasks.models.store import ModelRecord, basis_file
from tests.conftest import SPEC, anchor_to


def test_the_share_counts_images_that_find_themselves() -> None:
    old = np.array([[0, 0], [1, 0], [2, 0], [2, 0]], np.float32)
    new = np.array([[0.1, 0], [1.9, 0], [2, 0.5], [2, 0.5]], np.float32)
    assert share_of_own_nearest(new, old) == 0.75  # the second finds another; equal ones count


def measure(
    model: ModelRecord, dataset: DatasetRecord, root: Path, folder: Path
) -> BasisMetrics | None:
    for split in ("train", "test"):
        encode_split(split, dataset, [model], folder / f"{split}.h5", root)
    with open_codes(folder / "train.h5") as train, open_codes(folder / "test.h5") as test:
        return measure_kept_basis(model, dataset, {"train": train, "test": test}, root)


def test_an_anchored_model_is_compared_with_its_anchor(
    model: ModelRecord, dataset: DatasetRecord, root: Path, tmp_path: Path
) -> None:
    recipe = SPEC.recipe.model_copy(update={"epochs": 40})
    free = SPEC.model_copy(update={"seed": 1, "recipe": recipe})
    file = root / model.folder / basis_file(model)
    found = []
    for strength in (1e-9, 0.3):
        anchor = anchor_to(model).model_copy(update={"strength": strength})
        spec = free.anchored_to(anchor)
        trained = obtain_model(dataset, spec, "cpu", root, lambda progress: None, anchor=file)
        found.append(measure(trained, dataset, root, tmp_path))
    loose, kept = found
    assert loose
    assert kept
    assert loose.probes
    assert kept.probes
    assert loose.own_nearest < 0.2
    assert kept.own_nearest > 0.6
    assert kept.mean_distance < loose.mean_distance / 2
    assert kept.probes.nearest_5 > loose.probes.nearest_5 + 0.1


@pytest.mark.usefixtures("root")
def test_a_free_model_is_compared_with_nothing(
    model: ModelRecord, dataset: DatasetRecord, root: Path, tmp_path: Path
) -> None:
    assert measure(model, dataset, root, tmp_path) is None
