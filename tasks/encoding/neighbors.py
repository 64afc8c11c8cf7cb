"""Exact nearest neighbours of codes, in the file layout of ann-benchmarks.

Layout: https://github.com/erikbern/ann-benchmarks, `ann_benchmarks/datasets.py`.
"""

import logging
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.codes.published import PublishedRun
from tasks.codes.reader import open_codes
from tasks.core.errors import StepError
from tasks.core.hdf5 import create_hdf5
from tasks.core.locks import lock
from tasks.core.records import SPLITS, FileRecord, Record, Sha256
from tasks.core.storage import atomic_folder, describe_file, read_intact, write_record

logger = logging.getLogger(__name__)

RECORD_FILE = "neighbors.json"
NEIGHBORS = 100


class NeighborsRecord(Record):
    """A folder of neighbours, and the codes they were computed from."""

    run: str
    codes_sha256: dict[str, Sha256] = Field(description="of the codes files, by path")
    files: tuple[FileRecord, ...]


def neighbors_folder(run: str, root: Path) -> Path:
    """The folder with the neighbours of a run's codes."""
    return root / "neighbors" / run


def obtain_neighbors(run: PublishedRun, root: Path) -> NeighborsRecord:
    """Write the neighbours of a run's codes, unless they are there already.

    For each model one file, `neighbors/<run>/<model>-<code size>-euclidean.hdf5`: for each test
    code its nearest training codes.

    Raises:
        CodesError: the run's codes are damaged.
    """
    folder = neighbors_folder(run.name, root)
    codes_sha256 = {file.path: file.sha256 for file in run.files if file.path.startswith("codes/")}
    with lock(f"neighbors-{run.name}", root):
        stored = read_intact(folder / RECORD_FILE, NeighborsRecord, lambda record: record.files)
        if stored and stored.codes_sha256 == codes_sha256:
            logger.info("Unchanged: the neighbours of run %s are there already", run.name)
            return stored
        with atomic_folder(folder) as partial:
            names = _write_all(run, partial)
            record = NeighborsRecord(
                run=run.name,
                codes_sha256=codes_sha256,
                files=tuple(describe_file(partial, name) for name in names),
            )
            write_record(partial / RECORD_FILE, record)
    return record


def _write_all(run: PublishedRun, folder: Path) -> list[str]:
    """Write a file for each model; return their names."""
    train_path, test_path = (run.file(f"codes/{split}.h5") for split in SPLITS)
    names = []
    with open_codes(train_path) as train_file, open_codes(test_path) as test_file:
        for model in run.models:
            train, test = train_file.read(model).codes, test_file.read(model).codes
            names.append(f"{model}-{train.shape[1]}-euclidean.hdf5")
            write_neighbors(folder / names[-1], train, test)
            logger.info("Wrote %s: %d queries against %d codes", names[-1], len(test), len(train))
    return names


def write_neighbors(
    path: Path, train: NDArray[np.float32], test: NDArray[np.float32], count: int = NEIGHBORS
) -> None:
    """Search the nearest training codes of every test code; write codes and neighbours to a file.

    Exact: distances are computed in float64. They are computed in blocks, so memory grows only with
    the input and the result. With fewer than `count` training codes there are as many neighbours.

    Args:
        train: (N, code_size).
        test: (Q, code_size).
    """
    from sklearn.neighbors import NearestNeighbors  # a second that other steps need not wait

    if train.shape[1] != test.shape[1]:
        raise StepError(f"Codes of {train.shape[1]} and {test.shape[1]} units cannot be compared")
    search = NearestNeighbors(n_neighbors=min(count, len(train)), algorithm="brute").fit(train)
    distances, neighbors = search.kneighbors(test)  # both (Q, count), nearest first
    arrays = {
        "train": train,
        "test": test,
        "neighbors": neighbors.astype(np.int32),
        "distances": distances.astype(np.float32),
    }
    with create_hdf5(path) as file:
        file.attrs.update(type="dense", distance="euclidean", point_type="float")
        file.attrs["dimension"] = train.shape[1]
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
    with h5py.File(path) as file:
        if not np.array_equal(file["neighbors"][...], neighbors):
            raise StepError(f"{path} does not hold what was written: check the disk")
