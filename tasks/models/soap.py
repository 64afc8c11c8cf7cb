"""SOAP: Adam in the eigenbases of the covariances of each kernel's gradients.

For the gradient G of a kernel, L and R are exponential averages of G G' and G' G, and Q_L and Q_R
their eigenvectors. Adam's moments are those of Q_L' G Q_R, and its step D changes the kernel by
Q_L D Q_R'. A side longer than `max_side` keeps its own basis (Q = I).

Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024,
https://arxiv.org/abs/2409.11321
"""

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.core.backend import keras, tf

COVARIANCE_DECAY = 0.95
COVARIANCE_STEPS = 4
"""The covariances take in the gradient of every fourth step: they change slowly."""
GRAM_ROWS = 128
"""XLA divides longer sums among the cores; the bits would depend on their number."""

_one_thread = threading.Lock()
"""Held while bases are computed: the limit is that of the whole process, and of two trainings the
first to be done would lift it for the other."""


class Side(NamedTuple):
    """One side of a kernel that gets an eigenbasis."""

    covariance: keras.Variable
    """L or R, (n, n) float32."""
    basis: keras.Variable
    """Q_L or Q_R, (n, n) float32, orthogonal."""


class Soap(keras.optimizers.Adam):  # type: ignore[misc]  # Keras ships no types
    """Adam for biases and for kernels of convolutions, SOAP for the kernels of dense layers.

    Everything that the next step depends on is in `variables`.

    Args:
        beta_2: decay of the squared gradient's mean.
        basis_steps: steps between two updates of the eigenbases; see `is_basis_due`.
        max_side: longest side of a kernel that gets an eigenbasis.
        weight_decay: times the learning rate: share that kernels lose in each step.
    """

    def __init__(
        self, beta_2: float, basis_steps: int, max_side: int, weight_decay: float | None = None
    ) -> None:
        super().__init__(beta_2=beta_2, weight_decay=weight_decay)
        self._basis_steps, self._max_side = basis_steps, max_side

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the state: Adam's, then covariances (zero) and bases (the identity)."""
        super().build(variables)
        self._sides = [self._add_sides(variable.shape) for variable in variables]

    def _add_sides(self, shape: tuple[int, ...]) -> list[Side | None]:
        """The sides of a kernel, rows first; none of what is no matrix."""
        return [
            Side(
                self.add_variable((n, n), name="covariance"),
                self.add_variable((n, n), "identity", name="basis"),
            )
            if n <= self._max_side
            else None
            for n in shape
            if len(shape) == 2
        ]

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Take one step for one variable; called by Keras while it traces."""
        index = self._get_variable_index(variable)
        sides = self._sides[index]
        if not any(sides):
            super().update_step(gradient, variable, rate)
            return
        tf.cond(
            self.iterations % COVARIANCE_STEPS == 0,
            lambda: _update_covariances(gradient, sides),
            lambda: None,
        )
        direction = self._adam_direction(index, _to_bases(gradient, sides))
        variable.assign_sub(rate * _from_bases(direction, sides))

    def _adam_direction(self, index: int, gradient: tf.Tensor) -> tf.Tensor:
        """Update the moments of a gradient; return Adam's step at a learning rate of 1."""
        mean, square = self._momentums[index], self._velocities[index]
        mean.assign(mean + (gradient - mean) * (1 - self.beta_1))
        square.assign(square + (tf.square(gradient) - square) * (1 - self.beta_2))
        step = tf.cast(self.iterations + 1, tf.float32)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        return mean * correction / (tf.sqrt(square) + self.epsilon)

    def is_basis_due(self, steps: int) -> bool:
        """Whether the bases are updated after so many steps of the training.

        After every `basis_steps`; before the first of these after 1, 2, 4, ... steps.
        """
        early = steps < self._basis_steps and steps & (steps - 1) == 0
        return early or steps % self._basis_steps == 0

    def update_bases(self) -> None:
        """Compute the eigenbases of the present covariances, on the host and in one thread.

        The results of several threads would depend on their number. The first moments are rotated
        from the old bases to the new ones. A covariance that is not finite leaves its basis alone.
        """
        with _one_thread, threadpool_limits(1):
            for momentum, sides in zip(self._momentums, self._sides, strict=True):
                for axis, side in enumerate(sides):
                    if side:
                        rotation = _update_basis(side)
                        momentum.assign(_rotate(momentum.numpy(), rotation, axis))


def _update_covariances(gradient: tf.Tensor, sides: list[Side | None]) -> None:
    for side, matrix in zip(sides, (tf.transpose(gradient), gradient), strict=True):
        if side:
            change = _gram(matrix) - side.covariance
            side.covariance.assign(side.covariance + change * (1 - COVARIANCE_DECAY))


def _gram(matrix: tf.Tensor) -> tf.Tensor:
    """M' M, as a sum of products of at most `GRAM_ROWS` rows each."""
    starts = range(0, matrix.shape[0], GRAM_ROWS)
    parts = (matrix[start : start + GRAM_ROWS] for start in starts)
    return sum(tf.matmul(part, part, transpose_a=True) for part in parts)


def _to_bases(gradient: tf.Tensor, sides: list[Side | None]) -> tf.Tensor:
    """Q_L' G Q_R."""
    left, right = sides
    if left:
        gradient = tf.matmul(left.basis, gradient, transpose_a=True)
    return tf.matmul(gradient, right.basis) if right else gradient


def _from_bases(direction: tf.Tensor, sides: list[Side | None]) -> tf.Tensor:
    """Q_L D Q_R'."""
    left, right = sides
    if left:
        direction = tf.matmul(left.basis, direction)
    return tf.matmul(direction, right.basis, transpose_b=True) if right else direction


def _update_basis(side: Side) -> NDArray[np.float32]:
    """Replace a basis Q by the eigenvectors P of its covariance; return P' Q."""
    covariance, before = side.covariance.numpy().astype(np.float64), side.basis.numpy()
    if not np.isfinite(covariance).all():
        return np.eye(len(before), dtype=np.float32)
    # Descending eigenvalues: the second moments, which are not rotated, keep their rank.
    basis = np.linalg.eigh(covariance).eigenvectors[:, ::-1].astype(np.float32)
    side.basis.assign(basis)
    rotation: NDArray[np.float32] = basis.T @ before
    return rotation


def _rotate(
    momentum: NDArray[np.float32], rotation: NDArray[np.float32], axis: int
) -> NDArray[Any]:
    return rotation @ momentum if axis == 0 else momentum @ rotation.T
