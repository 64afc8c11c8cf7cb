"""Exact nearest neighbours of codes, in the file layout of ann-benchmarks.

Layout: https://github.com/erikbern/ann-benchmarks, `ann_benchmarks/datasets.py`.
"""

import logging
from collections.abc import Callable
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
from tasks.core.records import SPLITS, FileRecord, Record, Sha256, Split
from tasks.core.storage import atomic_folder, describe_file, read_intact, write_record

logger = logging.getLogger(__name__)

RECORD_FILE = "neighbors.json"
NEIGHBORS = 100


FeaturesOf = Callable[[Split, int], NDArray[np.float32]]
"""Features of all images of a split, (N, count), from the split and their count."""


class ClassShares(Record):
    """How many of the nearest neighbours have the class of the query: precision at 100.

    The share of the (at most) 100 neighbours, mean over the queries.
    """

    codes: float
    pca: float | None = Field(
        description="the same among neighbours in a PCA with as many components as the code has "
        "units; null where the dataset's PCA is not there"
    )


class NeighborsRecord(Record):
    """A folder of neighbours, and the codes they were computed from."""

    run: str
    same_class: dict[str, ClassShares] = Field(
        description="by model; empty where the images have no labels"
    )
    codes_sha256: dict[str, Sha256] = Field(description="of the codes files, by path")
    files: tuple[FileRecord, ...]


def neighbors_folder(run: str, root: Path) -> Path:
    """The folder with the neighbours of a run's codes."""
    return root / "neighbors" / run


def obtain_neighbors(
    run: PublishedRun, root: Path, pca: FeaturesOf | None = None
) -> NeighborsRecord:
    """Write the neighbours of a run's codes, unless they are there already.

    For each model one file, `neighbors/<run>/<model>-<code size>-euclidean.hdf5`: for each test
    code its nearest training codes.

    Args:
        pca: gives the PCA features that the codes are compared with, if there are any.

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
            names, shares = _write_all(run, partial, pca)
            record = NeighborsRecord(
                run=run.name,
                same_class=shares,
                codes_sha256=codes_sha256,
                files=tuple(describe_file(partial, name) for name in names),
            )
            write_record(partial / RECORD_FILE, record)
    return record


def _write_all(
    run: PublishedRun, folder: Path, pca: FeaturesOf | None
) -> tuple[list[str], dict[str, ClassShares]]:
    """Write a file for each model; return their names, and the shares by model."""
    train_path, test_path = (run.file(f"codes/{split}.h5") for split in SPLITS)
    names, shares = [], {}
    pca_shares: dict[int, float] = {}  # by size: models of one size are compared with one PCA
    with open_codes(train_path) as train_file, open_codes(test_path) as test_file:
        for model in run.models:
            train, test = train_file.read(model), test_file.read(model)
            size = train.codes.shape[1]
            names.append(f"{model}-{size}-euclidean.hdf5")
            nearest = write_neighbors(folder / names[-1], train.codes, test.codes)
            logger.info(
                "Wrote %s: %d queries against %d codes", names[-1], len(nearest), len(train.codes)
            )
            if train.labels is None or test.labels is None:
                continue
            if pca and size not in pca_shares:
                found, _ = search_neighbors(pca("train", size), pca("test", size))
                pca_shares[size] = same_class_share(found, train.labels, test.labels)
            shares[model] = ClassShares(
                codes=same_class_share(nearest, train.labels, test.labels),
                pca=pca_shares.get(size),
            )
            _log_shares(model, size, shares[model])
    return names, shares


def _log_shares(model: str, size: int, shares: ClassShares) -> None:
    beside = "" if shares.pca is None else f" (PCA-{size}: {shares.pca:.2%})"
    logger.info(
        "Of the %d nearest %s codes, %.2f%% have the class of the query%s",
        NEIGHBORS,
        model,
        100 * shares.codes,
        beside,
    )


def same_class_share(
    neighbors: NDArray[np.int64], train_labels: NDArray[np.int64], test_labels: NDArray[np.int64]
) -> float:
    """Share of the neighbours that have the class of their query, mean over the queries.

    Args:
        neighbors: (Q, count) rows of the training images.
        train_labels: (N,).
        test_labels: (Q,).

    Source: precision at count; Manning, Raghavan and Schuetze, Introduction to Information
    Retrieval, section 8.4.
    """
    return float((train_labels[neighbors] == test_labels[:, np.newaxis]).mean())


def search_neighbors(
    train: NDArray[np.float32], test: NDArray[np.float32], count: int = NEIGHBORS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the nearest training vectors of every test vector, and their distances.

    Exact: distances are computed in float64. They are computed in blocks, so memory grows only with
    the input and the result. With fewer than `count` training vectors there are as many neighbours.

    Args:
        train: (N, size).
        test: (Q, size).

    Returns:
        Two arrays (Q, count), nearest first.
    """
    from sklearn.neighbors import NearestNeighbors  # a second that other steps need not wait

    search = NearestNeighbors(n_neighbors=min(count, len(train)), algorithm="brute").fit(train)
    distances, neighbors = search.kneighbors(test)
    return neighbors, distances


def write_neighbors(
    path: Path, train: NDArray[np.float32], test: NDArray[np.float32], count: int = NEIGHBORS
) -> NDArray[np.int64]:
    """Search the nearest training codes of every test code; write codes and neighbours to a file.

    Args:
        train: (N, code_size).
        test: (Q, code_size).

    Returns:
        The neighbours, as `search_neighbors` gives them.
    """
    if train.shape[1] != test.shape[1]:
        raise StepError(f"Codes of {train.shape[1]} and {test.shape[1]} units cannot be compared")
    neighbors, distances = search_neighbors(train, test, count)
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
    return neighbors
