from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.codes import CodesError, open_published
from tasks.codes.published import run_folder
from tasks.core.records import DatasetRecord
from tasks.encoding.neighbors import neighbors_folder, obtain_neighbors, write_neighbors
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
