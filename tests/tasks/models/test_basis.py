"""Changes of basis leave the reconstruction as it is, within rounding relative to its size."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.models import basis
from tasks.models.basis import Affine, CodeLayers

Array = NDArray[np.floating[Any]]
IMAGES, INPUTS, OUTPUTS = 400, 12, 7


def layers_of(generator: np.random.Generator, units: int, code_bias: float) -> CodeLayers:
    """Layers whose code units differ in size and correlate."""
    sizes = 10.0 ** generator.uniform(-1, 1, units)
    mix = np.eye(units) + 0.5 * generator.normal(size=(units, units))
    kernel = generator.normal(size=(INPUTS, units)) @ mix * sizes
    return CodeLayers(
        Affine(kernel, code_bias * np.abs(kernel).sum(axis=0)),
        Affine(generator.normal(size=(units, OUTPUTS)), generator.normal(size=OUTPUTS)),
    )


def pre_activations(images: Array, layers: CodeLayers) -> Array:
    return images @ layers.code.kernel + layers.code.bias


def output(images: Array, layers: CodeLayers, relu: bool = True) -> Array:
    """What the next layer computes before its activation."""
    code = pre_activations(images, layers)
    return (np.maximum(code, 0) if relu else code) @ layers.following.kernel + layers.following.bias


def rounded(layers: CodeLayers) -> CodeLayers:
    """The layers in float32, as a model stores them."""
    return CodeLayers(*(Affine(*(x.astype(np.float32) for x in layer)) for layer in layers))


def assert_equal(found: Array, expected: Array) -> None:
    """Within float32 rounding of sums of some dozen terms, relative to the largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 10))
def test_whitening_changes_no_output_where_nothing_is_clipped(seed: int, units: int) -> None:
    generator = np.random.default_rng(seed)
    layers = layers_of(generator, units, code_bias=5.0)
    images = generator.normal(size=(IMAGES, INPUTS))
    code = pre_activations(images, layers)
    assert not basis.relu_acts(code, layers.following)
    whitened = rounded(basis.whiten(code, layers))
    assert_equal(output(images, whitened, relu=False), output(images, layers, relu=False))
    new_code = pre_activations(images, whitened)
    kept = (new_code > 0).all(axis=1)
    assert_equal(output(images, whitened)[kept], output(images, layers, relu=False)[kept])
    np.testing.assert_allclose((new_code <= 0).mean(axis=0), basis.CLIPPED_SHARE, atol=2 / IMAGES)


def test_a_whitened_code_has_unit_variance_and_no_correlation() -> None:
    generator = np.random.default_rng(0)
    layers = layers_of(generator, 8, code_bias=5.0)
    layers = layers._replace(code=Affine(generator.normal(size=(INPUTS, 8)), layers.code.bias))
    images = generator.normal(size=(IMAGES, INPUTS)) * generator.uniform(0.3, 1, INPUTS)
    whitened = basis.whiten(pre_activations(images, layers), layers)
    covariance = np.cov(pre_activations(images, whitened), rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, np.eye(8), atol=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), units=st.integers(1, 10))
def test_scaling_changes_no_output_of_a_relu_that_acts(seed: int, units: int) -> None:
    generator = np.random.default_rng(seed)
    layers = layers_of(generator, units, code_bias=0.0)
    images = generator.normal(size=(IMAGES, INPUTS))
    code = pre_activations(images, layers)
    assert basis.relu_acts(code, layers.following)
    scaled = rounded(basis.scale_units(code, layers))
    assert_equal(output(images, scaled), output(images, layers))
    spread = np.maximum(pre_activations(images, scaled), 0).std(axis=0)
    np.testing.assert_allclose(spread, 1, rtol=1e-4)


def test_a_unit_that_is_always_zero_is_not_scaled() -> None:
    code = np.array([[-1.0, 2.0], [-2.0, 4.0]])
    layers = CodeLayers(Affine(np.ones((3, 2)), np.ones(2)), Affine(np.ones((2, 1)), np.ones(1)))
    scaled = basis.scale_units(code, layers)
    assert scaled.code.bias.tolist() == [1, 1]
    assert scaled.following.kernel.tolist() == [[1], [1]]


def test_a_dead_unit_revives_without_changing_the_output() -> None:
    generator = np.random.default_rng(0)
    layers = layers_of(generator, 5, code_bias=0.1)
    layers.code.bias[2] -= 1e3
    images = generator.normal(size=(IMAGES, INPUTS))
    code = pre_activations(images, layers)
    assert basis.dead_units(code).tolist() == [False, False, True, False, False]
    revived = basis.revive(code, layers)
    assert (pre_activations(images, revived) > 0).mean(axis=0)[2] == pytest.approx(0.5, abs=0.01)
    assert_equal(output(images, revived), output(images, layers))
    assert basis.revive(pre_activations(images, revived), revived).code.bias.tolist() == (
        revived.code.bias.tolist()
    )


def test_units_that_hardly_count_do_not_make_the_relu_act() -> None:
    """Two of three units are clipped for half of the images, but the next layer ignores them."""
    code = np.random.default_rng(0).normal(size=(IMAGES, 3)) + np.array([0, 0, 10])
    weights = np.array([[1e-3], [1e-3], [1.0]])
    assert not basis.relu_acts(code, Affine(weights, np.zeros(1)))
    assert basis.relu_acts(code, Affine(np.array([[3.0], [3.0], [1.0]]), np.zeros(1)))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_folded_layer_does_for_images_what_the_first_did_for_centred_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first = Affine(generator.normal(size=(INPUTS, 5)), generator.normal(size=5))
    images = generator.random((IMAGES, INPUTS))
    centre = images.mean(axis=0).astype(np.float32)
    folded = basis.fold_centre(centre, first)
    assert_equal(
        images @ folded.kernel + folded.bias, (images - centre) @ first.kernel + first.bias
    )
