import numpy as np
import pytest

from tasks.evaluation import count_live_units, entropy_floor


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


def test_counts_units_that_carry_information() -> None:
    generator = np.random.default_rng(0)
    live = generator.random((1000, 3)) * (generator.random((1000, 3)) < 0.5)
    dead = np.zeros((1000, 1))
    rare = np.zeros((1000, 1))
    rare[:9] = 1.0
    always = 1 + generator.random((1000, 1))
    constant = np.full((1000, 1), 1e-4)
    constant[0] = 0
    codes = np.hstack([live, dead, rare, always, constant]).astype(np.float32)
    assert count_live_units(codes) == 3
