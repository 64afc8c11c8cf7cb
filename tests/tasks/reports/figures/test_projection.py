import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tasks.reports.figures.projection import project_codes
from tasks.reports.figures.style import Array


def spread_classes(count: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Codes with six units; the classes differ along the third and fourth, which spread least."""
    generator, labels = np.random.default_rng(seed), np.arange(count) % classes
    codes = generator.normal(size=(count, 6)) * (9, 9, 0.5, 0.5, 9, 0)
    codes[:, 2] += 10 * (labels % 3)
    codes[:, 3] += 4 * (labels // 3)
    return codes.astype(np.float32), labels


def nearest_mean_accuracy(points: Array, labels: Array) -> float:
    """Share of points whose nearest class mean is their own class's."""
    means = np.array([points[labels == label].mean(axis=0) for label in np.unique(labels)])
    distances = np.linalg.norm(points[:, np.newaxis] - means, axis=2)
    return float((distances.argmin(axis=1) == labels).mean())


def test_classes_lie_apart_that_principal_components_mix() -> None:
    train, labels = spread_classes(600, 6)
    test, test_labels = spread_classes(600, 6, seed=1)
    parted = project_codes(train, labels, test)
    assert nearest_mean_accuracy(parted.points, test_labels) > 0.99
    assert nearest_mean_accuracy(project_codes(train, None, test).points, test_labels) < 0.5


def test_the_axes_are_those_of_the_discriminant_analysis() -> None:
    """A class has standard deviation 1 along an axis; scikit-learn divides by M - classes."""
    (train, labels), (test, _) = spread_classes(600, 6), spread_classes(300, 6, seed=1)
    plane = project_codes(train[:, :5], labels, test[:, :5])
    analysis = LinearDiscriminantAnalysis(n_components=2).fit(train[:, :5], labels)
    expected = analysis.transform(test[:, :5]) * (600 / 594) ** 0.5
    expected *= np.sign((expected * plane.points).sum(axis=0))
    np.testing.assert_allclose(plane.points, expected, atol=0.005 * np.ptp(expected))
    first, second = analysis.explained_variance_ratio_[:2]
    assert f"{first:.0%} and {second:.0%} of the separation" in plane.text
    assert plane.axes[0] == f"first discriminant axis ({first:.0%} of the classes' separation)"
    assert plane.axes[1] == f"second discriminant axis ({second:.0%})"


def test_a_dead_unit_changes_no_axis() -> None:
    (train, labels), (test, _) = spread_classes(600, 6), spread_classes(300, 6, seed=1)
    with_dead, without = (project_codes(train[:, :n], labels, test[:, :n]) for n in (6, 5))
    assert with_dead.axes == without.axes
    np.testing.assert_allclose(with_dead.points, without.points, atol=0.01 * np.ptp(without.points))


def test_the_order_of_the_classes_does_not_turn_the_map() -> None:
    (train, labels), (test, _) = spread_classes(600, 6), spread_classes(50, 6, seed=1)
    turned = project_codes(train, 5 - labels, test)
    np.testing.assert_allclose(turned.points, project_codes(train, labels, test).points, atol=1e-6)


def test_axes_are_chosen_on_other_images_than_those_drawn() -> None:
    """Random classes of few images do not lie apart, though the training images' own do."""
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(2, 60, 40)).astype(np.float32)
    labels = np.arange(60) % 3
    assert nearest_mean_accuracy(project_codes(train, labels, train).points, labels) > 0.8
    assert nearest_mean_accuracy(project_codes(train, labels, test).points, labels) < 0.6


def test_two_classes_lie_apart_along_the_first_axis() -> None:
    (train, labels), (test, test_labels) = spread_classes(200, 2), spread_classes(200, 2, seed=1)
    plane = project_codes(train, labels, test)
    assert plane.points.shape == (200, 2)
    assert nearest_mean_accuracy(plane.points[:, :1], test_labels) == 1
    assert plane.axes[0] == "discriminant axis of the two classes"
    assert plane.axes[1].startswith("first principal component of the rest (")


def test_without_labels_shares_are_those_of_the_variance() -> None:
    spread = np.random.default_rng(0).normal(size=(5000, 3)) * (1, 3, 2)
    plane = project_codes(spread, None, spread)
    variances = plane.points.var(axis=0, ddof=1)
    np.testing.assert_allclose(variances, spread.var(axis=0, ddof=1)[[1, 2]], rtol=0.01)
    first, second = variances / spread.var(axis=0, ddof=1).sum()
    assert plane.axes[0] == f"first principal component ({first:.0%} of the variance)"
    assert plane.axes[1] == f"second principal component ({second:.0%})"


@pytest.mark.parametrize(
    "labels",
    [np.zeros(20, int), np.arange(20)],
    ids=["one class", "a class for each image"],
)
def test_classes_that_cannot_be_told_apart_have_principal_components(labels: Array) -> None:
    codes = np.random.default_rng(0).random((20, 4)).astype(np.float32)
    plane = project_codes(codes, labels, codes)
    assert plane.axes[0].startswith("first principal component")
    assert np.array_equal(plane.points, project_codes(codes, None, codes).points)


@pytest.mark.parametrize("classes", [2, 3])
def test_codes_without_any_spread_are_drawn_in_one_place(classes: int) -> None:
    ones, labels = np.ones((30, 4), np.float32), np.arange(30) % classes
    plane = project_codes(ones, labels, ones)
    assert not plane.points.any()
    assert "(0% and 0% of the variance)" in plane.text


def test_classes_that_are_a_point_each_have_principal_components() -> None:
    """Nothing spreads within a class, so that no distance can be measured by it."""
    labels = np.arange(30) % 3
    codes = np.eye(3, 5, dtype=np.float32)[labels]
    assert project_codes(codes, labels, codes).axes[0].startswith("first principal component")
