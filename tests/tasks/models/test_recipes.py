import numpy as np
import pytest

from tasks.models.architectures import DEEP, SHALLOW, WIDE, DenseArchitecture
from tasks.models.recipes import learning_rates
from tasks.models.spec import choose_recipe


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


def test_the_wide_model_has_settings_of_its_own_but_not_in_the_lab_s_recipe() -> None:
    wide = choose_recipe("default", WIDE, epochs=40, batch_size=256)
    assert (wide.batch_size, wide.peak_learning_rate) == (128, 5e-3)
    assert choose_recipe("default", WIDE, epochs=40, batch_size=1).batch_size == 1
    lab = {choose_recipe("lab", a, 40, 256).model_dump_json() for a in (SHALLOW, DEEP, WIDE)}
    assert len(lab) == 1


def test_what_serves_the_wide_model_is_not_given_to_others_with_its_layers() -> None:
    same_layers = DenseArchitecture(name="mine", hidden=(512,), activation="gelu")
    assert choose_recipe("default", same_layers, 40, 256) == choose_recipe("default", DEEP, 40, 256)
