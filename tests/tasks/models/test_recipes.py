import numpy as np
import pytest

from tasks.models.architectures import DEEP, SHALLOW, WIDE, DenseArchitecture
from tasks.models.recipes import Recipe, learning_rates
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


def test_hidden_layers_bring_soap_centring_and_whitening() -> None:
    shallow, deep = (choose_recipe("default", a, 20, 256) for a in (SHALLOW, DEEP))
    assert (deep.optimizer, deep.centred) == ("soap", True)
    assert deep.whiten
    assert (shallow.optimizer, shallow.centred, shallow.whiten) == ("adam", False, ())
    assert deep.unit_variance
    assert shallow.unit_variance


def test_the_lab_s_recipe_is_keras_s_adam_and_nothing_else() -> None:
    lab = {choose_recipe("lab", a, 40, 256) for a in (SHALLOW, DEEP, WIDE)}
    assert lab == {Recipe(epochs=40, batch_size=256)}
    (recipe,) = lab
    assert (recipe.optimizer, recipe.whiten, recipe.unit_variance) == ("adam", (), False)


def test_what_serves_the_wide_model_is_not_given_to_others_with_its_layers() -> None:
    same_layers = DenseArchitecture(name="mine", hidden=WIDE.hidden, activation="gelu")
    mine, deep, wide = (choose_recipe("default", a, 40, 256) for a in (same_layers, DEEP, WIDE))
    assert mine == deep != wide


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, set()), (2, {1}), (10, {5, 7, 8}), (100, {50, 70, 85})]
)
def test_the_code_is_never_whitened_after_the_last_epoch(epochs: int, expected: set[int]) -> None:
    """The training could not make up for it any more."""
    recipe = Recipe(epochs=epochs, batch_size=1, whiten=(0.5, 0.7, 0.85, 1.0))
    assert recipe.whitening_epochs - {0} == expected


def test_a_recipe_of_an_earlier_version_is_read() -> None:
    stored = Recipe(epochs=1, batch_size=2).model_dump() | {"rebalance": 0.95}
    assert Recipe.model_validate(stored) == Recipe(epochs=1, batch_size=2)
