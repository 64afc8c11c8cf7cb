"""What codes are good for: how well simple classifiers do on them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.records import DatasetRecord, Probes, Split
from tasks.images.rows import spaced_rows

RIDGE = 1.0
"""Weight of the linear probe's penalty; any small value gives the same accuracy here."""
NEIGHBORS = 5
PROBED_IMAGES: dict[Split, int] = {"train": 60_000, "test": 10_000}
"""The most images that a probe works on: those of Fashion-MNIST."""
PROBED_PIXELS = 28 * 28
"""Where images have more, fewer of them are sampled, so that they take the same memory."""


def probed_rows(dataset: DatasetRecord, split: Split) -> NDArray[np.int64]:
    """Which images of a split probes work on, whatever the features, rising."""
    most = PROBED_IMAGES[split] * PROBED_PIXELS // max(PROBED_PIXELS, dataset.pixels)
    return spaced_rows(dataset.rows[split], max(1, most))


def probe(
    train: NDArray[np.float32],
    train_labels: NDArray[Any],
    test: NDArray[np.float32],
    test_labels: NDArray[Any],
) -> Probes:
    """Classify the test images by features that were made without their classes.

    The linear probe learns weights W and offsets b that minimize |X W + b - Y|^2 + RIDGE |W|^2 over
    the training features X, where Y has 1 for an image's class and -1 for the others; the largest
    of x W + b is the class. With the means taken off, W = (X'X + RIDGE I)^-1 X'Y. A neighbour is
    near in Euclidean distance; among classes with equal votes the smallest label wins.

    Args:
        train: (N, features) float32; their means are taken off in place, as a copy may be large.
        train_labels: (N,) integers, not negative.
        test: (Q, features) float32.
        test_labels: (Q,) integers, not negative.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, sections 3.4.1
    and 13.3.
    """
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBORS, len(train)), algorithm="brute").fit(train)
    nearest = train_labels[search.kneighbors(test, return_distance=False)]  # (Q, 5) labels
    classes = np.arange(int(nearest.max()) + 1)  # not in the labels' type, which may be uint8
    votes = (nearest[:, :, np.newaxis] == classes).sum(axis=1)  # (Q, classes)
    learned, places = np.unique(train_labels, return_inverse=True)
    targets = np.where(places[:, np.newaxis] == np.arange(len(learned)), 1, -1)  # (N, learned)
    # RidgeClassifier finds the same, but weighs the images, for which it copies the features.
    linear = Ridge(alpha=RIDGE, copy_X=False).fit(train, targets)
    scores = linear.predict(test).reshape(len(test), -1)  # of a single class, Ridge gives (Q,)
    guessed = learned[scores.argmax(axis=1)]
    return Probes(
        linear=float((guessed == test_labels).mean()),
        nearest_1=float((nearest[:, 0] == test_labels).mean()),
        nearest_5=float((votes.argmax(axis=1) == test_labels).mean()),
    )
