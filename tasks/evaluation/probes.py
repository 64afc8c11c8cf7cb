"""Probes: simple classifiers that show how much a code tells about the classes."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.codes.search import search_nearest
from tasks.core.records import DatasetRecord, Split
from tasks.evaluation.records import Probes
from tasks.images.rows import spaced_rows

RIDGE = 1.0
"""Weight of the linear probe's penalty; any small value gives the same accuracy."""
TOGETHER = 500
"""Classes that the linear probe learns at once: its targets are 60,000 x 500 numbers then."""
NEIGHBORS = 5
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
        train: (N, features) float32; may be centred in place, as a copy may be large.
        train_labels: (N,) integers, not negative.
        test, test_labels: the same for Q other images.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, sections 3.4.1
    and 13.3.
    """
    nearest = train_labels[search_nearest(train, test, NEIGHBORS).rows]  # (Q, 5)
    votes = (nearest[:, :, np.newaxis] == nearest[:, np.newaxis]).sum(axis=2)  # (Q, 5) of its class
    none = np.iinfo(nearest.dtype).max
    elected = np.where(votes == votes.max(axis=1, keepdims=True), nearest, none).min(axis=1)
    return Probes(
        linear=float((_predict_linearly(train, train_labels, test) == test_labels).mean()),
        nearest_1=float((nearest[:, 0] == test_labels).mean()),
        nearest_5=float((elected == test_labels).mean()),
    )


def _predict_linearly(
    train: NDArray[np.float32], train_labels: NDArray[Any], test: NDArray[np.float32]
) -> NDArray[Any]:
    """The classes, (Q,), that the linear probe predicts."""
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    classes, positions = np.unique(train_labels, return_inverse=True)
    best, predicted = np.full(len(test), -np.inf), np.zeros(len(test), np.int64)  # (Q,) each
    for first in range(0, len(classes), TOGETHER):
        numbers = np.arange(first, min(first + TOGETHER, len(classes)))
        targets = np.where(positions[:, np.newaxis] == numbers, 1, -1)  # (N, numbers)
        with warnings.catch_warnings():  # units of a model that hardly learned are nearly collinear
            warnings.simplefilter("ignore", LinAlgWarning)
            # Not RidgeClassifier: it weights the images, for which it copies the features.
            linear = Ridge(alpha=RIDGE, copy_X=len(classes) > TOGETHER).fit(train, targets)
        scores = linear.predict(test).reshape(len(test), -1)  # for one class, Ridge gives (Q,)
        is_better = scores.max(axis=1) > best
        best[is_better] = scores.max(axis=1)[is_better]
        predicted[is_better] = numbers[scores.argmax(axis=1)][is_better]
    found: NDArray[Any] = classes[predicted]
    return found
