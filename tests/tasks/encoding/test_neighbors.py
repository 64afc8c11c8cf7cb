import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.codes import CodesError, open_published
from tasks.codes.published import run_folder
from tasks.codes.reader import Codes, CodesFile
from tasks.core.records import SPLITS, DatasetRecord, Split
from tasks.encoding.neighbors import (
    RECORD_FILE,
    neighbors_folder,
    obtain_neighbors,
    same_class_share,
    write_neighbors,
)
from tasks.models.store import ModelRecord
from tests.conftest import complete


def test_layout_is_that_of_ann_benchmarks(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    record = obtain_neighbors(run, root)
    assert [file.path for file in record.files] == ["shallow-32-euclidean.hdf5"]
    with h5py.File(neighbors_folder("run-1", root) / record.files[0].path) as file:
        assert dict(file.attrs) == {
            "type": "dense",
            "distance": "euclidean",
            "point_type": "float",
            "dimension": 32,
        }
        shapes = {name: (values.shape, values.dtype.str) for name, values in file.items()}
        assert shapes == {
            "train": ((512, 32), "<f4"),
            "test": ((128, 32), "<f4"),
            "neighbors": ((128, 100), "<i4"),
            "distances": ((128, 100), "<f4"),
        }
        assert np.array_equal(file["train"], run.codes("train", "shallow").codes)
        assert np.array_equal(file["test"], run.codes("test", "shallow").codes)


@pytest.mark.parametrize("rows", [5, 1000])
def test_neighbours_are_those_of_brute_force(tmp_path: Path, rows: int) -> None:
    generator = np.random.default_rng(0)
    train, test = generator.random((rows, 8), np.float32), generator.random((40, 8), np.float32)
    write_neighbors(tmp_path / "x.hdf5", train, test, count=10)
    differences = test[:, np.newaxis].astype(np.float64) - train[np.newaxis]
    distances = np.sqrt((differences**2).sum(axis=2))  # (40, rows)
    order = np.argsort(distances, axis=1)[:, :10]
    with h5py.File(tmp_path / "x.hdf5") as file:
        assert np.array_equal(file["neighbors"], order)
        np.testing.assert_allclose(
            file["distances"], np.take_along_axis(distances, order, axis=1), rtol=1e-6
        )


def test_the_share_of_neighbours_with_the_class_of_the_query() -> None:
    """Of the first query two of two, of the second one of two."""
    train_labels, neighbors = np.array([4, 4, 9]), np.array([[0, 1], [1, 2]])
    assert same_class_share(neighbors, train_labels, np.array([4, 9])) == 0.75


def test_the_record_has_the_shares_of_codes_and_of_pca(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    labels = {split: run.codes(split, "shallow").labels for split in SPLITS}
    train, test = labels["train"], labels["test"]
    assert train is not None
    assert test is not None
    asked = []

    def classes_apart(split: Split, count: int) -> NDArray[np.float32]:
        asked.append((split, count))
        return np.eye(10, count, dtype=np.float32)[labels[split]]

    caplog.set_level(logging.INFO)
    record = obtain_neighbors(run, root, classes_apart)
    assert asked == [("train", 32), ("test", 32)]
    with h5py.File(neighbors_folder("run-1", root) / record.files[0].path) as file:
        rows = file["neighbors"][...]
    found = record.same_class["shallow"]
    own = [np.mean(train[near] == label) for near, label in zip(rows, test, strict=True)]
    assert found.codes == pytest.approx(np.mean(own), rel=1e-12)
    # All images of a class are in one place; it has fewer than 100 of them, then come others.
    sizes = np.bincount(train, minlength=10)
    assert found.pca is not None
    assert found.pca > (sizes[test] / 100).mean() - 0.01
    assert found.pca > found.codes
    assert f"Of the 100 nearest shallow codes, {found.codes:.2%} have the class" in caplog.text
    assert f"(PCA-32: {found.pca:.2%})" in caplog.text


def test_codes_without_labels_have_no_shares(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete("run-1", model, dataset, root)
    read = CodesFile.read

    def read_without_labels(file: CodesFile, *args: Any) -> Codes:
        return replace(read(file, *args), labels=None)

    monkeypatch.setattr(CodesFile, "read", read_without_labels)
    assert obtain_neighbors(open_published(dataset.name, root), root).same_class == {}


def test_a_record_of_an_earlier_version_is_made_anew(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    first = obtain_neighbors(run, root)
    path = neighbors_folder("run-1", root) / RECORD_FILE
    path.write_text(first.model_dump_json(exclude={"same_class"}))
    assert obtain_neighbors(run, root) == first


def test_the_same_codes_are_searched_once(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    first = obtain_neighbors(run, root)
    path = neighbors_folder("run-1", root) / first.files[0].path
    written = path.stat().st_mtime_ns
    assert obtain_neighbors(run, root) == first
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"damaged")
    assert obtain_neighbors(run, root) == first
    assert path.stat().st_size == first.files[0].size


def test_damaged_codes_leave_nothing(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    codes = run_folder("run-1", root) / "codes" / "train.h5"
    codes.write_bytes(codes.read_bytes()[:-1])
    with pytest.raises(CodesError, match="differs from its manifest"):
        obtain_neighbors(open_published(dataset.name, root), root)
    assert not list((root / "neighbors").iterdir())
