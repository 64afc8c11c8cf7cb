import numpy as np
import pytest

from tasks.models.architectures import DEEP, SHALLOW
from tasks.models.recipes import choose_recipe, learning_rates


def test_the_lab_keeps_a_constant_rate() -> None:
    rates = learning_rates(choose_recipe("lab", DEEP, epochs=20, batch_size=256), steps=100)
    assert np.array_equal(rates, np.full(100, 1e-3, np.float32))


def test_the_default_rises_to_its_peak_and_falls_to_zero() -> None:
    recipe = choose_recipe("default", DEEP, epochs=20, batch_size=256)
    rates = learning_rates(recipe, steps=1000)
    rise = round(1000 * recipe.warmup)
    assert np.all(np.diff(rates[:rise]) > 0)
    assert np.all(np.diff(rates[rise:]) < 0)
    assert rates.max() == pytest.approx(recipe.peak_learning_rate)
    assert rates[-1] == pytest.approx(recipe.peak_learning_rate / (1001 - rise))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_trainings_have_positive_rates(steps: int) -> None:
    recipe = choose_recipe("default", DEEP, epochs=1, batch_size=256)
    rates = learning_rates(recipe, steps)
    assert np.all(rates > 0)
    assert np.all(rates <= np.float32(recipe.peak_learning_rate))


def test_only_models_with_hidden_layers_are_rebalanced() -> None:
    shallow, deep = (choose_recipe("default", a, 20, 256) for a in (SHALLOW, DEEP))
    assert shallow.rebalance == 0.0 < deep.rebalance
