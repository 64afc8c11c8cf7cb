import math

import numpy as np
import pytest

from tasks.codes.activations import ACTIVATIONS, ERF_ERROR, erf
from tasks.core.backend import keras

VALUES = np.linspace(-20, 20, 100_001).astype(np.float32)


def test_erf_is_within_its_stated_error() -> None:
    x = np.linspace(-6, 6, 200_001).astype(np.float32)
    exact = np.array([math.erf(value) for value in x.tolist()])
    assert np.abs(erf(x) - exact).max() <= ERF_ERROR
    assert erf(x).dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_that_of_keras(name: str) -> None:
    expected = np.asarray(keras.activations.get(name)(VALUES))
    found = ACTIVATIONS[name](VALUES)
    assert found.dtype == np.float32
    # Relative to 1 or to the value, whichever is greater: both sides approximate.
    assert (np.abs(found - expected) <= 1e-6 * np.maximum(1, np.abs(VALUES))).all()


def test_gelu_is_the_exact_one() -> None:
    exact = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in VALUES.tolist()])
    with_tanh = keras.activations.gelu(VALUES, approximate=True).numpy()
    assert np.abs(ACTIVATIONS["gelu"](VALUES) - exact).max() < 1e-5
    assert np.abs(with_tanh - exact).max() > 1e-4


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_extreme_values_are_no_surprise(name: str) -> None:
    extremes = np.array([-1e30, -100, 0, 100, 1e30], np.float32)
    found = ACTIVATIONS[name](extremes)  # a warning would be an error
    assert np.isfinite(found).all()
    assert found[2] == 0
