import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.codes import CodesError, open_published, open_run
from tasks.codes.published import run_folder
from tasks.codes.reader import Codes, CodesFile
from tasks.core.records import SPLITS, DatasetRecord, Split
from tasks.core.storage import write_record
from tasks.encoding.neighbors import obtain_neighbors, same_class_share, write_neighbors
from tasks.encoding.stored_neighbors import RECORD_FILE, neighbors_folder
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
            "basis": model.basis,
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
    write_neighbors(tmp_path / "x.hdf5", train, test, "b" * 64, count=10)
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
    for later in ("same_class", "models"):
        path.write_text(first.model_dump_json(exclude={later}))
        assert obtain_neighbors(run, root) == first


def test_neighbours_in_an_earlier_format_are_made_anew_and_not_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("run-1", "run-2"):
        complete(name, model, dataset, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.encoding.neighbors.DERIVED_VERSION", 0)
        assert obtain_neighbors(open_run("run-1", root), root).derived_version == 0
    assert obtain_neighbors(open_run("run-2", root), root).derived_version == 1
    assert "Copied" not in caplog.text
    assert obtain_neighbors(open_run("run-1", root), root).derived_version == 1
    assert "The neighbours of run run-1 are of another version: made anew" in caplog.text


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


def test_the_record_names_basis_and_weights(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    found = obtain_neighbors(run, root).models["shallow"]
    assert (found.basis, found.encoder_weights_sha256) == (model.basis, model.basis)
    assert found.codes_sha256 == {
        split: run.codes(split, "shallow").model.codes_sha256 for split in SPLITS
    }


def test_the_neighbours_of_the_same_codes_are_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("run-1", "run-2"):
        complete(name, model, dataset, root)
    caplog.set_level(logging.INFO)
    first = obtain_neighbors(open_run("run-1", root), root)
    assert "Copied" not in caplog.text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.encoding.neighbors.search_nearest", None)
        second = obtain_neighbors(open_run("run-2", root), root)
    assert second == first.model_copy(update={"run": "run-2"})
    assert "Copied shallow-32-euclidean.hdf5 from the neighbours of run run-1" in caplog.text
    assert "older weights" not in caplog.text


def test_damaged_neighbours_are_not_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for name in ("run-1", "run-2"):
        complete(name, model, dataset, root)
    first = obtain_neighbors(open_run("run-1", root), root)
    (neighbors_folder("run-1", root) / first.files[0].path).write_bytes(b"damaged")
    (root / "neighbors" / "other").mkdir()
    (root / "neighbors" / "other" / RECORD_FILE).write_bytes(b"damaged")
    assert obtain_neighbors(open_run("run-2", root), root).files == first.files


def test_neighbours_that_were_not_compared_with_pca_are_searched_again_with_it(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for name in ("run-1", "run-2"):
        complete(name, model, dataset, root)
    obtain_neighbors(open_run("run-1", root), root)

    def features(split: Split, count: int) -> NDArray[np.float32]:
        return open_run("run-1", root).codes(split, "shallow").codes

    found = obtain_neighbors(open_run("run-2", root), root, features).same_class["shallow"]
    assert found.pca == found.codes


def test_the_log_says_that_codes_of_older_weights_have_the_same_basis(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete("run-1", model, dataset, root)
    path = neighbors_folder("run-1", root) / RECORD_FILE
    first = obtain_neighbors(open_run("run-1", root), root)
    complete("run-2", model, dataset, root)
    caplog.set_level(logging.INFO)
    for basis, said in ((model.basis, True), ("0" * 64, False)):
        caplog.clear()
        update = {"encoder_weights_sha256": "1" * 64, "basis": basis}
        older = {"shallow": first.models["shallow"].model_copy(update=update)}
        write_record(path, first.model_copy(update={"models": older}))
        shutil.rmtree(neighbors_folder("run-2", root), ignore_errors=True)
        obtain_neighbors(open_run("run-2", root), root)
        assert "Wrote shallow-32-euclidean.hdf5" in caplog.text
        assert ("codes of run run-1 are of the same basis" in caplog.text) is said


def test_damaged_codes_leave_nothing(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    codes = run_folder("run-1", root) / "codes" / "train.h5"
    codes.write_bytes(codes.read_bytes()[:-1])
    with pytest.raises(CodesError, match="differs from its manifest"):
        obtain_neighbors(open_published(dataset.name, root), root)
    assert not list((root / "neighbors").iterdir())
