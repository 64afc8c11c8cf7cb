"""Exact nearest neighbours of codes, in the file layout of ann-benchmarks.

Layout: https://github.com/erikbern/ann-benchmarks, `ann_benchmarks/datasets.py`.
"""

import logging
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tasks.codes.reader import PublishedRun
from tasks.core.errors import StepError
from tasks.core.hdf5 import create_hdf5
from tasks.core.records import FileRecord, Record, Sha256
from tasks.core.storage import atomic_folder, describe_file, lock, write_record

logger = logging.getLogger(__name__)

RECORD_FILE = "neighbors.json"
NEIGHBORS = 100


class NeighborsRecord(Record):
    """A folder of neighbours, and the codes it was made from."""

    run: str
    codes_sha256: dict[str, Sha256] = Field(description="of the codes files, by path")
    files: tuple[FileRecord, ...]


def neighbors_folder(run: str, root: Path) -> Path:
    """Where the neighbours of a run's codes stand."""
    return root / "neighbors" / run


def obtain_neighbors(run: PublishedRun, root: Path) -> NeighborsRecord:
    """Write the neighbours of a run's codes, unless that was done before.

    For each model one file, `neighbors/<run>/<model>-<code size>-euclidean.hdf5`: for each test
    code its nearest training codes.

    Raises:
        StepError: the run's codes are damaged.
    """
    folder = neighbors_folder(run.manifest.run, root)
    codes_sha256 = {
        file.path: file.sha256 for file in run.manifest.files if file.path.startswith("codes/")
    }
    with lock(f"neighbors-{run.manifest.run}", root):
        if (stored := _stored(folder)) and stored.codes_sha256 == codes_sha256:
            logger.info("The neighbours of run %s are there already", stored.run)
            return stored
        with atomic_folder(folder) as partial:
            names = [_write_model(run, model.name, partial) for model in run.manifest.models]
            record = NeighborsRecord(
                run=run.manifest.run,
                codes_sha256=codes_sha256,
                files=tuple(describe_file(partial, name) for name in names),
            )
            write_record(partial / RECORD_FILE, record)
    return record


def _stored(folder: Path) -> NeighborsRecord | None:
    try:
        record = NeighborsRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
        sound = all(describe_file(folder, file.path) == file for file in record.files)
    except (OSError, ValidationError):
        return None
    return record if sound else None


def _write_model(run: PublishedRun, model: str, folder: Path) -> str:
    train, test = run.codes("train", model).codes, run.codes("test", model).codes
    name = f"{model}-{train.shape[1]}-euclidean.hdf5"
    write_neighbors(folder / name, train, test)
    logger.info("Wrote %s: %d queries against %d codes", name, len(test), len(train))
    return name


def write_neighbors(
    path: Path, train: NDArray[np.float32], test: NDArray[np.float32], count: int = NEIGHBORS
) -> None:
    """Search the nearest training codes of every test code and write all of it to a file.

    Exact: distances are computed in float64, in blocks, so memory grows only with the input and
    the result. With fewer than `count` training codes there are as many neighbours.

    Args:
        train: (N, dimension) float32.
        test: (Q, dimension) float32.
    """
    from sklearn.neighbors import NearestNeighbors  # a second that other steps need not wait

    if train.shape[1] != test.shape[1]:
        raise StepError(f"Codes of {train.shape[1]} and {test.shape[1]} units cannot be compared")
    search = NearestNeighbors(n_neighbors=min(count, len(train)), algorithm="brute").fit(train)
    distances, neighbors = search.kneighbors(test)  # both (Q, count), nearest first
    with create_hdf5(path) as file:
        attributes = {"type": "dense", "distance": "euclidean", "point_type": "float"}
        for name, value in attributes.items():
            file.attrs[name] = value
        file.attrs["dimension"] = train.shape[1]
        for name, array in (
            ("train", train),
            ("test", test),
            ("neighbors", neighbors.astype(np.int32)),
            ("distances", distances.astype(np.float32)),
        ):
            file.create_dataset(name, data=array, track_times=False)
    with h5py.File(path) as file:
        if not np.array_equal(file["neighbors"][...], neighbors):
            raise StepError(f"{path} does not hold what was written: look at the disk")
