"""Probes: simple classifiers that show how much a code tells about the classes."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.records import DatasetRecord, Split
from tasks.evaluation.records import Probes
from tasks.images.rows import spaced_rows

RIDGE = 1.0
"""Weight of the linear probe's penalty; any small value gives the same accuracy."""
NEIGHBORS = 5
SEARCH_ROWS = 128
"""Test images that one product compares with all training images: 31 MB for 60,000 of them."""
GROUPS = 1024
"""Of training images, in the search for neighbours."""
SPARE = 3
"""Candidates beyond the wanted neighbours that are compared exactly."""
PROBED_IMAGES: dict[Split, int] = {"train": 60_000, "test": 10_000}
"""Most images that a probe uses: those of Fashion-MNIST."""
PROBED_PIXELS = 28 * 28
"""Of each such image; of larger images fewer are used, so that memory stays the same."""


def probed_rows(dataset: DatasetRecord, split: Split) -> NDArray[np.int64]:
    """Rows of a split that every probe uses, rising: the same for all features."""
    most = PROBED_IMAGES[split] * PROBED_PIXELS // max(PROBED_PIXELS, dataset.pixels)
    return spaced_rows(dataset.rows[split], max(1, most))


def probe(
    train: NDArray[np.float32],
    train_labels: NDArray[Any],
    test: NDArray[np.float32],
    test_labels: NDArray[Any],
) -> Probes:
    """Accuracies of classifiers trained on features that were computed without labels.

    The linear probe learns weights W and offsets b that minimize |X W + b - Y|^2 + RIDGE |W|^2 over
    the training features X, where Y is 1 for an image's class and -1 for the others; the largest
    of x W + b is the class. For centred X, W = (X'X + RIDGE I)^-1 X'Y. Neighbours are nearest in
    Euclidean distance; of classes with equal votes the smallest label wins.

    Args:
        train: (N, features) float32; centred in place, as a copy may be large.
        train_labels: (N,) integers, not negative.
        test, test_labels: the same for Q other images.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, sections 3.4.1
    and 13.3.
    """
    nearest = train_labels[find_nearest(train, test, NEIGHBORS)]  # (Q, 5)
    classes = np.arange(int(nearest.max()) + 1)  # as uint8, like some labels, 255 would overflow
    votes = (nearest[:, :, np.newaxis] == classes).sum(axis=1)  # (Q, classes)
    return Probes(
        linear=float((_predict_linearly(train, train_labels, test) == test_labels).mean()),
        nearest_1=float((nearest[:, 0] == test_labels).mean()),
        nearest_5=float((votes.argmax(axis=1) == test_labels).mean()),
    )


def find_nearest(
    train: NDArray[np.float32], test: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Rows of the nearest training features of each test image, nearest first: (Q, count).

    One product compares a block of test images with all training images. The five nearest are in
    the five groups of training images with the nearest members; a few groups and candidates more
    are compared again in float64, so that the product's rounding does not decide. Of equally
    distant candidates the one with the smaller row comes first.

    Args:
        train: (N, features) float32.
        test: (Q, features) float32.
        count: wanted; there are at most N.
    """
    count = min(count, len(train))
    halves = np.einsum("ij,ij->i", train, train) / 2
    nearest = np.empty((len(test), count), np.int64)
    closeness = np.empty((min(SEARCH_ROWS, len(test)), len(train)), np.float32)
    for start in range(0, len(test), SEARCH_ROWS):
        block = test[start : start + SEARCH_ROWS]
        # x t - |t|^2 / 2 is largest where |x - t|^2 is smallest.
        products = np.matmul(block, train.T, out=closeness[: len(block)])
        products -= halves
        nearest[start : start + len(block)] = _nearest_of_block(products, train, block, count)
    return nearest


def _nearest_of_block(
    closeness: NDArray[np.float32],
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    count: int,
) -> NDArray[np.int64]:
    candidates = _best_groups(closeness, count + SPARE)
    chosen = _largest(np.take_along_axis(closeness, candidates, axis=1), count + SPARE)
    rows = np.sort(np.take_along_axis(candidates, chosen, axis=1), axis=1)
    distances = np.empty(rows.shape)
    for column, neighbors in enumerate(rows.T):
        differences = train[neighbors] - test
        distances[:, column] = np.einsum("ij,ij->i", differences, differences, dtype=np.float64)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, nearest, axis=1)


def _best_groups(closeness: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns, (rows, M), of the groups with the largest maxima; group g has g, g + GROUPS, ..."""
    rows, columns = closeness.shape
    whole = columns // GROUPS * GROUPS
    rest = np.broadcast_to(np.arange(whole, columns), (rows, columns - whole))
    if not whole:
        return rest
    maxima = closeness[:, :whole].reshape(rows, -1, GROUPS).max(axis=1)
    best = _largest(maxima, count)
    members = best[:, :, np.newaxis] + np.arange(0, whole, GROUPS)
    return np.hstack([members.reshape(rows, -1), rest])


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the largest values of each row, in no order: (rows, count), or all columns."""
    count = min(count, values.shape[1])
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _predict_linearly(
    train: NDArray[np.float32], train_labels: NDArray[Any], test: NDArray[np.float32]
) -> NDArray[Any]:
    """The classes, (Q,), that the linear probe predicts."""
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    classes, positions = np.unique(train_labels, return_inverse=True)
    targets = np.where(positions[:, np.newaxis] == np.arange(len(classes)), 1, -1)  # (N, classes)
    with warnings.catch_warnings():  # units of a model that hardly learned are nearly collinear
        warnings.simplefilter("ignore", LinAlgWarning)
        # Not RidgeClassifier: it weights the images, for which it copies the features.
        linear = Ridge(alpha=RIDGE, copy_X=False).fit(train, targets)
    scores = linear.predict(test).reshape(len(test), -1)  # for one class, Ridge gives (Q,)
    predicted: NDArray[Any] = classes[scores.argmax(axis=1)]
    return predicted
