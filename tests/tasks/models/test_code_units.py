import numpy as np

from tasks.models.code_units import rebalance

GENERATOR = np.random.default_rng(0)
IMAGES = 1000
PRE_ACTIVATIONS = GENERATOR.normal(size=(IMAGES, 4)).astype(np.float32) + np.array(
    [0, -10, 10, -1.5], np.float32
)
"""A healthy unit, a dead one, one always above zero, a rare but living one."""
CODE_BIAS = GENERATOR.normal(size=4).astype(np.float32)
KERNEL = GENERATOR.normal(size=(4, 5)).astype(np.float32)
NEXT_BIAS = GENERATOR.normal(size=5).astype(np.float32)

REBALANCED = rebalance(PRE_ACTIVATIONS, CODE_BIAS, KERNEL, NEXT_BIAS)
AFTER = PRE_ACTIVATIONS + (REBALANCED.code_bias - CODE_BIAS)


def test_healthy_units_stay_as_they_are() -> None:
    for unit in (0, 3):
        assert REBALANCED.code_bias[unit] == CODE_BIAS[unit]


def test_a_dead_unit_is_above_zero_for_half_of_the_images() -> None:
    assert np.isclose((AFTER[:, 1] > 0).mean(), 0.5, atol=0.01)


def test_a_unit_that_was_always_positive_no_longer_is() -> None:
    assert np.isclose((AFTER[:, 2] > 0).mean(), 0.9, atol=0.01)


def test_the_next_layer_makes_up_for_what_the_positive_unit_lost() -> None:
    """Without the revived unit, the output changes for clipped images alone."""
    keep = [0, 2, 3]
    before = np.maximum(PRE_ACTIVATIONS, 0)[:, keep] @ KERNEL[keep] + NEXT_BIAS
    after = np.maximum(AFTER, 0)[:, keep] @ KERNEL[keep] + REBALANCED.next_bias
    clipped = AFTER[:, 2] < 0
    assert 0 < clipped.sum() <= 0.1 * IMAGES
    size = np.abs(before).max()
    np.testing.assert_allclose(after[~clipped], before[~clipped], rtol=0, atol=1e-5 * size)
    assert np.abs(after[clipped] - before[clipped]).max() > 1e-3 * size


def test_nothing_changes_when_all_is_well() -> None:
    healthy = PRE_ACTIVATIONS[:, [0, 3]]
    rebalanced = rebalance(healthy, CODE_BIAS[:2], KERNEL[:2], NEXT_BIAS)
    assert rebalanced.code_bias.tobytes() == CODE_BIAS[:2].tobytes()
    assert rebalanced.next_bias.tobytes() == NEXT_BIAS.tobytes()
