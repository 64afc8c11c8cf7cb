"""The plane in which codes are drawn: where classes lie apart, or where codes spread most."""

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from tasks.reports.figures.style import Array

REGULARIZATION = 1e-3
"""Share of each unit's variance within classes that is added to it: a direction in which no class
spreads then has no infinite weight."""
LEAST_VARIANCE = 1e-6
"""The variance of a constant unit, over that of the mean unit."""


class Plane(NamedTuple):
    """Codes in a plane."""

    points: Array
    """(N, 2)."""
    axes: tuple[str, str]
    """What the axes are, with the shares that they hold."""
    text: str
    """The same in a sentence."""


def project_codes(train: Array, labels: Array | None, test: Array) -> Plane:
    """The test images' codes in the plane that shows most of how they lie.

    With labels, that is the plane in which the classes of the training images lie farthest apart.
    The axes are chosen on training images, as axes chosen on the images drawn would part even
    random classes where there are few images for the size of the code.

    Args:
        train: (M, code_size).
        labels: (M,) classes of the training images; none if they have no labels.
        test: (N, code_size) codes to draw, at least 2 x 2.
    """
    classes = None if labels is None else _take_apart(train.astype(np.float64), labels)
    if classes and np.ptp(classes.means, axis=0).any() and classes.residuals.any():
        return _part_classes(train, classes, test)
    points, shares = _project_on_components(test, 2)
    return Plane(
        points,
        (
            f"first principal component ({shares[0]:.0%} of the variance)",
            f"second principal component ({shares[1]:.0%})",
        ),
        f"The codes in the plane of their first two principal components ({shares[0]:.0%} and "
        f"{shares[1]:.0%} of the variance)",
    )


class Classes(NamedTuple):
    """Codes apart into the means of their classes and what is left."""

    shares: Array
    """(classes,) of the codes."""
    means: Array
    """(classes, code_size), minus the mean of all codes."""
    residuals: Array
    """(M, code_size) codes minus the mean of their class."""


def _take_apart(codes: Array, labels: Array) -> Classes:
    positions, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    means = np.zeros((len(counts), codes.shape[1]))
    np.add.at(means, positions, codes)
    means /= counts[:, np.newaxis]
    return Classes(counts / len(codes), means - codes.mean(axis=0), codes - means[positions])


def _find_directions(classes: Classes) -> tuple[Array, Array]:
    """Linear discriminant analysis: directions in which class means lie apart, best first.

    Returns:
        The directions, (code_size, code_size), in each of which codes have standard deviation 1
        within a class, and their shares of the variance between classes, counted in this unit.

    Source: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 4.3.3.
    """
    within = classes.residuals.T @ classes.residuals / len(classes.residuals)
    variances = within.diagonal()  # (code_size,)
    within += np.diag(REGULARIZATION * np.maximum(variances, LEAST_VARIANCE * variances.mean()))
    between = (classes.means.T * classes.shares) @ classes.means
    whitening = np.linalg.inv(np.linalg.cholesky(within))
    variances, directions = np.linalg.eigh(whitening @ between @ whitening.T)
    directions = whitening.T @ directions[:, ::-1]
    # The farthest class is at the positive end: the sign of a direction is arbitrary.
    places = classes.means @ directions  # (classes, code_size)
    farthest = np.take_along_axis(places, np.abs(places).argmax(axis=0)[np.newaxis], axis=0)
    return directions * np.where(farthest < 0, -1, 1), variances[::-1] / variances.sum()


def _part_classes(train: Array, classes: Classes, test: Array) -> Plane:
    """The first two directions; two classes have one, the other axis is that of the rest."""
    count = min(2, len(classes.means) - 1)
    directions, shares = _find_directions(classes)
    directions = directions[:, :count]
    points = (test - train.mean(axis=0)) @ directions
    first = f"first discriminant axis ({shares[0]:.0%} of the classes' separation)"
    if count == 2:
        return Plane(
            points,
            (first, f"second discriminant axis ({shares[1]:.0%})"),
            "The codes in the plane in which the classes of the training images lie farthest "
            f"apart for their spread; its axes hold {shares[0]:.0%} and {shares[1]:.0%} of the "
            "separation in all directions, and count standard deviations within a class",
        )
    unit = directions / np.linalg.norm(directions)
    rest, (share,) = _project_on_components(test - (test @ unit) @ unit.T, 1)
    return Plane(
        np.hstack([points, rest]),
        (
            "discriminant axis of the two classes",
            f"first principal component of the rest ({share:.0%} of its variance)",
        ),
        "The codes along the direction in which the two classes of the training images lie "
        "farthest apart for their spread, and the first principal component of the rest "
        f"({share:.0%} of its variance)",
    )


def _project_on_components(codes: Array, count: int) -> tuple[Array, Array]:
    """Codes along their principal components, (N, count), and the components' shares, (count,).

    The shares are zero if all codes are equal.
    """
    pca = PCA(count, svd_solver="covariance_eigh")
    with np.errstate(invalid="ignore"):  # equal codes have no variance
        points: Array = pca.fit_transform(codes)
        shares: Array = np.nan_to_num(pca.explained_variance_ratio_)
    return points, shares
