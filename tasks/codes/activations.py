"""Activation functions in NumPy, float32 to float32, any shape; as Keras defines them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

ERF_NUMERATOR = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06),
    *(-5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03),
    -1.60960333262415e-02,
)
"""Coefficients of x^12, x^10, ... x^0."""
ERF_DENOMINATOR = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03),
    *(-7.37332916720468e-03, -1.42647390514189e-02),
)
"""Coefficients of x^8, x^6, ... x^0."""
ERF_LARGEST = np.float32(4)
"""From here on, erf is 1 in float32."""
ERF_ERROR = 5e-7
"""Largest absolute error of `erf`."""


def erf(x: Values) -> Values:
    """The error function, x P(x²) / Q(x²) for x clipped to -4..4; off by at most `ERF_ERROR`.

    Source: the rational approximation of Eigen's `generic_fast_erf_float`,
    https://gitlab.com/libeigen/eigen, which TensorFlow uses too.
    """
    x = np.clip(x, -ERF_LARGEST, ERF_LARGEST)
    squares = x * x
    result = _polynomial(ERF_NUMERATOR, squares)
    result *= x
    result /= _polynomial(ERF_DENOMINATOR, squares)
    return result


def _polynomial(coefficients: tuple[float, ...], x: Values) -> Values:
    """Horner's scheme, the highest power first."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += np.float32(coefficient)
    return result


def relu(x: Values) -> Values:
    """max(x, 0)."""
    return np.maximum(x, np.float32(0))


def elu(x: Values) -> Values:
    """Positive values as they are, others e^x - 1."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def gelu(x: Values) -> Values:
    """The exact form, x Φ(x) = x (1 + erf(x / √2)) / 2, not the one with tanh.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, https://arxiv.org/abs/1606.08415
    """
    result = erf(x * np.float32(0.5**0.5))
    result += np.float32(1)
    result *= x
    result *= np.float32(0.5)
    return result


def silu(x: Values) -> Values:
    """The sigmoid linear unit, x / (1 + e^-x)."""
    with np.errstate(over="ignore"):  # where e^-x is infinite, the result is zero
        divisor: Values = np.exp(-x)
    divisor += np.float32(1)
    return np.divide(x, divisor, out=divisor)


def tanh(x: Values) -> Values:
    """The hyperbolic tangent."""
    return np.tanh(x)


def linear(x: Values) -> Values:
    """The identity."""
    return x


ACTIVATIONS: dict[str, Callable[[Values], Values]] = {
    function.__name__: function for function in (relu, elu, gelu, silu, tanh, linear)
}
"""By the name that Keras gives them."""
