import warnings

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from tasks.evaluation import probes as probes_module
from tasks.evaluation.probes import RIDGE, probe


def test_classes_that_lie_apart_are_told_apart() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    centres = np.eye(3)[labels] * 10
    features = (centres + generator.standard_normal((300, 3))).astype(np.float32)
    probes = probe(features[:200], labels[:200], features[200:], labels[200:])
    assert (probes.linear, probes.nearest_1, probes.nearest_5) == (1.0, 1.0, 1.0)


def test_noise_tells_nothing() -> None:
    generator = np.random.default_rng(0)
    features = generator.random((2000, 4), np.float32)
    labels = generator.integers(0, 4, 2000)
    probes = probe(features[:1000], labels[:1000], features[1000:], labels[1000:])
    for accuracy in (probes.linear, probes.nearest_1, probes.nearest_5):
        assert accuracy == pytest.approx(0.25, abs=0.06)


def test_five_outvote_one() -> None:
    train = np.array([[0.0], [1.0], [1.1], [1.2], [1.3], [9.0]], np.float32)
    probes = probe(
        train, np.array([1, 0, 0, 0, 0, 1]), np.array([[0.1]], np.float32), np.array([0])
    )
    assert (probes.nearest_1, probes.nearest_5) == (0.0, 1.0)


@pytest.mark.parametrize(("classes", "together"), [(1, 500), (2, 500), (5, 500), (5, 2)])
def test_the_linear_probe_is_a_ridge_classifier(
    classes: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes_module, "TOGETHER", together)
    generator = np.random.default_rng(0)
    features = generator.standard_normal((400, 6)).astype(np.float32)
    labels = (features[:, 0] * classes).astype(np.int64) % classes * 10
    train, test = slice(300), slice(300, None)
    known = RidgeClassifier(alpha=RIDGE).fit(features[train], labels[train])
    probes = probe(features[train].copy(), labels[train], features[test], labels[test])
    assert probes.linear == known.score(features[test], labels[test])


def test_collinear_units_cost_no_warning() -> None:
    """As the codes of a model that was trained for one epoch; scikit-learn would warn of them."""
    labels = np.arange(2000) % 4
    shared = np.random.default_rng(0).normal(0, 90, (2000, 1))  # units reach 90
    features = np.hstack([*[shared] * 4, np.eye(4)[labels]]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes = probe(features[:1000], labels[:1000], features[1000:], labels[1000:])
    assert probes.linear == 1.0


def test_labels_may_be_bytes_up_to_255() -> None:
    features = np.array([[0.0], [1.0]], np.float32)
    labels = np.array([0, 255], np.uint8)
    probes = probe(features.copy(), labels, features, labels)
    assert (probes.linear, probes.nearest_1) == (1.0, 1.0)


def test_few_training_images_are_all_neighbours() -> None:
    probes = probe(np.eye(2, dtype=np.float32), np.array([0, 1]), np.eye(2, dtype=np.float32),
                   np.array([0, 1]))  # fmt: skip
    assert probes.nearest_1 == 1.0
