import numpy as np
import pytest

from tasks.core.backend import tf
from tasks.evaluation.metrics import (
    correlations,
    effective_dimension,
    entropy_floor,
    mean_correlation,
    peak_signal_to_noise,
    principal_spreads,
    structural_similarity,
)


def test_black_and_white_images_have_no_floor() -> None:
    assert entropy_floor(np.array([[[0, 255]]], np.uint8), 255.0) == 0.0


def test_half_grey_costs_one_bit() -> None:
    assert entropy_floor(np.array([[[1, 1]]], np.uint8), 2.0) == pytest.approx(np.log(2))


def test_is_the_loss_of_a_perfect_reconstruction() -> None:
    images = np.random.default_rng(0).integers(1, 255, (5, 4, 3), dtype=np.uint8)
    targets = images / 255.0
    loss = -(targets * np.log(targets) + (1 - targets) * np.log1p(-targets)).mean()
    assert entropy_floor(images, 255.0) == pytest.approx(loss)


def test_values_above_the_training_maximum_count_as_white() -> None:
    assert entropy_floor(np.array([[[9, 9]]], np.uint8), 4.0) == 0.0


def test_peak_signal_to_noise_is_in_decibels() -> None:
    assert peak_signal_to_noise(np.array([0.01, 0.001])) == pytest.approx(25.0)
    assert peak_signal_to_noise(np.array([0.0])) == pytest.approx(100.0)


def test_structural_similarity_is_one_for_equal_images_and_less_for_others() -> None:
    images = np.random.default_rng(0).random((3, 28, 28), np.float32)
    reconstructions = images.copy()
    reconstructions[1] = images[1].mean()
    reconstructions[2] = 1 - images[2]
    same, flat, inverted = structural_similarity(images, reconstructions)
    assert same == pytest.approx(1.0)
    assert inverted < 0 < flat + 0.05 < 0.2


def test_structural_similarity_of_constant_images_has_a_closed_form() -> None:
    """Without variance only the luminance term is left: (2ab + c) / (a^2 + b^2 + c), c = 1e-4."""
    values = structural_similarity(np.full((1, 7, 5), 0.4), np.full((1, 7, 5), 0.6))
    expected = (2 * 0.24 + 1e-4) / (0.16 + 0.36 + 1e-4)
    assert values[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(28, 28), (7, 5), (11, 90), (150, 100, 3)])
def test_structural_similarity_is_tensorflow_s(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    # Smooth images, part of them black, where rounding weighs most: variances are near zero.
    images = np.cumsum(generator.random((40, *shape), np.float32), axis=1) / shape[0] - 0.2
    images = np.clip(images, 0, 1)
    others = np.clip(images + generator.normal(0, 0.05, images.shape), 0, 1).astype(np.float32)
    expected = tf.image.ssim(
        *(array.reshape(*array.shape[:3], -1) for array in (images, others)),
        max_val=1.0,
        filter_size=min(11, *shape[:2]),
    )
    # Similarities reach 1. A variance is a difference of two numbers near 1, each with an error of
    # 1e-7, beside the constant 9e-4.
    np.testing.assert_allclose(structural_similarity(images, others), expected, atol=1e-4)


def test_code_statistics_of_independent_and_of_equal_units() -> None:
    generator = np.random.default_rng(0)
    one = np.maximum(generator.standard_normal((5000, 1)), 0).astype(np.float32)
    several = np.maximum(generator.standard_normal((5000, 4)), 0).astype(np.float32)
    assert effective_dimension(several) == pytest.approx(4, rel=0.02)
    assert effective_dimension(np.hstack([one, one, one])) == pytest.approx(1)
    assert mean_correlation(several) < 0.03
    assert mean_correlation(np.hstack([one, one])) == pytest.approx(1)


def test_correlations_are_pearson_s() -> None:
    """X and 2 - x are opposite; x and x^2 over -1, 0, 1 share no linear part."""
    x = np.array([-1, 0, 1], np.float32)
    codes = np.stack([x, 2 - x, x**2], axis=1)
    expected = [[1, -1, 0], [-1, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(correlations(codes), expected, atol=1e-12)  # correlations reach 1


@pytest.mark.parametrize("constant", [0, 0.1])
def test_a_unit_that_never_varies_correlates_with_nothing(constant: float) -> None:
    codes = np.array([[1, constant], [2, constant], [0, constant]], np.float32)
    assert correlations(codes).tolist() == [[pytest.approx(1), 0], [0, 0]]
    assert correlations(codes[:, 1:]).tolist() == [[0]]
    assert mean_correlation(codes) == 0.0


def test_equal_codes_spread_in_no_direction() -> None:
    assert effective_dimension(np.zeros((3, 2), np.float32)) == 0.0
    assert effective_dimension(np.ones((1, 2), np.float32)) == 0.0, "one code, and no warning"
    assert effective_dimension(np.array([[1], [2], [0]], np.float32)) == pytest.approx(1)


def test_spreads_along_principal_axes_are_those_of_rotated_codes() -> None:
    """Two equal units have all their variance in one direction, and none across it."""
    unit = np.random.default_rng(0).normal(size=(500, 1)).astype(np.float32)
    spreads = principal_spreads(np.hstack([unit, unit]))
    np.testing.assert_allclose(spreads, [unit.std(ddof=1) * 2**0.5, 0], rtol=1e-5, atol=1e-5)


def test_single_and_equal_codes_have_no_spreads() -> None:
    assert principal_spreads(np.ones((1, 3), np.float32)).tolist() == [0, 0, 0]
    assert principal_spreads(np.ones((9, 3), np.float32)).tolist() == [0, 0, 0]
    assert principal_spreads(np.array([[1], [3]], np.float32)) == pytest.approx([2**0.5])
