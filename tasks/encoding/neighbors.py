"""Exact nearest neighbours of codes, in the file layout of ann-benchmarks.

Layout: https://github.com/erikbern/ann-benchmarks, `ann_benchmarks/datasets.py`.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.codes.published import PublishedRun
from tasks.codes.reader import Codes, open_codes
from tasks.codes.search import search_nearest
from tasks.core.errors import StepError
from tasks.core.hdf5 import create_hdf5
from tasks.core.locks import lock
from tasks.core.records import SPLITS, Sha256, Split
from tasks.core.storage import atomic_folder, describe_file, read_intact, write_record
from tasks.encoding.stored_neighbors import (
    DERIVED_VERSION,
    RECORD_FILE,
    ClassShares,
    NeighborsRecord,
    SearchedCodes,
    copy_equal,
    describe_codes,
    find_others,
    log_comparable,
    neighbors_folder,
)

logger = logging.getLogger(__name__)

NEIGHBORS = 100

FeaturesOf = Callable[[Split, int], NDArray[np.float32]]
"""Features of all images of a split, (N, count), from the split and their count."""


def obtain_neighbors(
    run: PublishedRun, root: Path, pca: FeaturesOf | None = None
) -> NeighborsRecord:
    """Write the neighbours of a run's codes, unless they are there already.

    For each model one file, `neighbors/<run>/<model>-<code size>-euclidean.hdf5`: for each test
    code its nearest training codes. Those of a model that another run has too are copied.

    Args:
        pca: gives the PCA features that the codes are compared with, if there are any.

    Raises:
        CodesError: the run's codes are damaged.
    """
    folder = neighbors_folder(run.name, root)
    codes_sha256 = {file.path: file.sha256 for file in run.files if file.path.startswith("codes/")}
    with lock(f"neighbors-{run.name}", root):
        stored = read_intact(folder / RECORD_FILE, NeighborsRecord, lambda record: record.files)
        if stored and stored.models and stored.codes_sha256 == codes_sha256:
            if stored.derived_version == DERIVED_VERSION:
                logger.info("Unchanged: the neighbours of run %s are there already", run.name)
                return stored
            logger.info("The neighbours of run %s are of another version: made anew", run.name)
        with atomic_folder(folder) as partial:
            found = list(_write_all(run, partial, root, pca))
            record = NeighborsRecord(
                run=run.name,
                models={one.model: one.codes for one in found},
                same_class={one.model: one.shares for one in found if one.shares},
                codes_sha256=codes_sha256,
                files=tuple(describe_file(partial, one.file) for one in found),
                derived_version=DERIVED_VERSION,
            )
            write_record(partial / RECORD_FILE, record)
    return record


class Found(NamedTuple):
    """The neighbours of one model's codes."""

    model: str
    codes: SearchedCodes
    file: str
    """In the run's folder."""
    shares: ClassShares | None
    """None where the images have no labels."""


def _write_all(
    run: PublishedRun, folder: Path, root: Path, pca: FeaturesOf | None
) -> Iterator[Found]:
    """Write a file for each model, or copy it."""
    others = find_others(run.name, root)
    by_pca = pca and functools.cache(
        functools.partial(_search_pca, pca)
    )  # once for all models of a size
    train_path, test_path = (run.file(f"codes/{split}.h5") for split in SPLITS)
    with open_codes(train_path) as train_file, open_codes(test_path) as test_file:
        for model in run.models:
            train, test = train_file.read(model), test_file.read(model)
            codes = describe_codes(train, test)
            name = f"{model}-{train.codes.shape[1]}-euclidean.hdf5"
            if other := copy_equal(model, codes, others, name, folder, with_pca=pca is not None):
                yield Found(model, codes, name, other.same_class.get(model))
                continue
            log_comparable(model, codes, others)
            nearest = write_neighbors(folder / name, train.codes, test.codes, codes.basis)
            logger.info(
                "Wrote %s: %d queries against %d codes", name, len(nearest), len(train.codes)
            )
            shares = _measure_shares(nearest, train, test, by_pca)
            if shares:
                _log_shares(model, train.codes.shape[1], shares)
            yield Found(model, codes, name, shares)


def _search_pca(pca: FeaturesOf, components: int) -> NDArray[np.int64]:
    """Rows of the nearest training images of every test image in a PCA."""
    return search_nearest(pca("train", components), pca("test", components), NEIGHBORS).rows


def _measure_shares(
    nearest: NDArray[np.int64],
    train: Codes,
    test: Codes,
    by_pca: Callable[[int], NDArray[np.int64]] | None,
) -> ClassShares | None:
    """How many of the neighbours have the class of the query; none without labels.

    Args:
        nearest: (Q, count) rows of `train`.
        by_pca: gives the neighbours in a PCA with a number of components.
    """
    if train.labels is None or test.labels is None:
        return None
    among = by_pca(train.codes.shape[1]) if by_pca else None
    return ClassShares(
        codes=same_class_share(nearest, train.labels, test.labels),
        pca=None if among is None else same_class_share(among, train.labels, test.labels),
    )


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


def write_neighbors(
    path: Path,
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    basis: Sha256,
    count: int = NEIGHBORS,
) -> NDArray[np.int64]:
    """Search the nearest training codes of every test code; write codes and neighbours to a file.

    Args:
        train: (N, code_size).
        test: (Q, code_size).
        basis: of the codes, an attribute of the file.

    Returns:
        The rows of the neighbours, (Q, count), nearest first.
    """
    if train.shape[1] != test.shape[1]:
        raise StepError(f"Codes of {train.shape[1]} and {test.shape[1]} units cannot be compared")
    neighbors, squares = search_nearest(train, test, count)
    arrays = {
        "train": train,
        "test": test,
        "neighbors": neighbors.astype(np.int32),
        "distances": np.sqrt(squares.astype(np.float32)),
    }
    with create_hdf5(path) as file:
        file.attrs.update(type="dense", distance="euclidean", point_type="float")
        file.attrs.update(dimension=train.shape[1], basis=basis)
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
    with h5py.File(path) as file:
        if not np.array_equal(file["neighbors"][...], neighbors):
            raise StepError(f"{path} does not hold what was written: check the disk")
    return neighbors
