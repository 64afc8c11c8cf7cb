import numpy as np

from tasks.codes.units import activity, live_units


def test_counts_units_that_carry_information() -> None:
    """A unit that is positive for all images counts, as a whitened code may hardly be clipped."""
    images = 10_000
    generator = np.random.default_rng(0)
    live = generator.random((images, 3)) * (generator.random((images, 3)) < 0.5)
    dead = np.zeros((images, 1))
    rare = np.zeros((images, 1))
    rare[: images // 101] = 1.0
    always = 1 + generator.random((images, 1))
    constant = np.full((images, 1), 1e-4)
    constant[0] = 0
    codes = np.hstack([live, dead, rare, always, constant]).astype(np.float32)
    assert live_units(codes).tolist() == [True, True, True, False, False, True, False]


def test_activity_is_the_share_of_images_for_which_a_unit_is_not_zero() -> None:
    codes = np.array([[0, 1, 0.5], [0, 2, 0], [0, 3, 0], [0, 4, 0]], np.float32)
    assert activity(codes).tolist() == [0, 1, 0.25]
