"""SOAP against plain NumPy in float64; tolerances are relative to the size of the values."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from tasks.core.backend import keras, tf
from tasks.models import soap
from tasks.models.soap import COVARIANCE_DECAY, COVARIANCE_STEPS, Soap

Array = NDArray[np.floating[Any]]
BETA_1, BETA_2, RATE, EPSILON = 0.9, 0.95, 1e-2, 1e-7
MAX_SIDE = 8
GENERATOR = np.random.default_rng(0)
KERNELS = [GENERATOR.normal(size=shape).astype(np.float32) for shape in ((12, 6), (6, 5), (5, 12))]
GRADIENTS = [[GENERATOR.normal(size=k.shape).astype(np.float32) for k in KERNELS] for _ in range(6)]


class Reference:
    """One kernel, by the formulas of the module's docstring."""

    def __init__(self, kernel: Array) -> None:
        self.kernel = kernel.astype(np.float64)
        rows, columns = kernel.shape
        self.mean, self.square = np.zeros(kernel.shape), np.zeros(kernel.shape)
        self.left, self.right = np.zeros((rows, rows)), np.zeros((columns, columns))
        self.q_left, self.q_right = np.eye(rows), np.eye(columns)

    def step(self, gradient: Array, number: int) -> None:
        g = gradient.astype(np.float64)
        if number % COVARIANCE_STEPS == 1:
            self.left = COVARIANCE_DECAY * self.left + (1 - COVARIANCE_DECAY) * g @ g.T
            self.right = COVARIANCE_DECAY * self.right + (1 - COVARIANCE_DECAY) * g.T @ g
        g = self.q_left.T @ g @ self.q_right
        self.mean = BETA_1 * self.mean + (1 - BETA_1) * g
        self.square = BETA_2 * self.square + (1 - BETA_2) * g**2
        correction = np.sqrt(1 - BETA_2**number) / (1 - BETA_1**number)
        direction = self.mean * correction / (np.sqrt(self.square) + EPSILON)
        self.kernel -= RATE * self.q_left @ direction @ self.q_right.T

    def update_bases(self) -> None:
        q_left, q_right = self.q_left, self.q_right
        if len(self.left) <= MAX_SIDE:
            self.q_left = np.linalg.eigh(self.left).eigenvectors[:, ::-1]
        if len(self.right) <= MAX_SIDE:
            self.q_right = np.linalg.eigh(self.right).eigenvectors[:, ::-1]
        self.mean = self.q_left.T @ q_left @ self.mean @ q_right.T @ self.q_right


def build(values: list[Array]) -> tuple[Soap, list[keras.Variable]]:
    variables = [keras.Variable(value) for value in values]
    optimizer = Soap(BETA_2, basis_steps=100, max_side=MAX_SIDE)
    optimizer.build(variables)
    optimizer.learning_rate = RATE
    return optimizer, variables


def test_steps_and_bases_are_those_of_the_formulas() -> None:
    optimizer, variables = build(KERNELS)
    references = [Reference(kernel) for kernel in KERNELS]
    step = tf.function(optimizer.apply, jit_compile=True, autograph=False)
    for number, gradients in enumerate(GRADIENTS, start=1):
        step([tf.constant(gradient) for gradient in gradients])
        for reference, gradient in zip(references, gradients, strict=True):
            reference.step(gradient, number)
        for variable, reference in zip(variables, references, strict=True):
            size = np.abs(reference.kernel).max()
            np.testing.assert_allclose(variable.numpy(), reference.kernel, rtol=0, atol=1e-4 * size)
        if optimizer.is_basis_due(number):
            optimizer.update_bases()
            for reference in references:
                reference.update_bases()


def test_biases_and_kernels_of_convolutions_get_adam_s_step() -> None:
    values = [GENERATOR.normal(size=shape).astype(np.float32) for shape in ((4,), (3, 3, 2, 4))]
    optimizer, variables = build(values)
    expected = [keras.Variable(value) for value in values]
    adam = keras.optimizers.Adam(RATE, beta_2=BETA_2)
    adam.build(expected)
    assert len(optimizer.variables) == len(adam.variables)
    for _ in range(3):
        gradients = [
            tf.constant(GENERATOR.normal(size=value.shape), tf.float32) for value in values
        ]
        optimizer.apply(gradients)
        optimizer.update_bases()
        adam.apply(gradients)
    for mine, theirs in zip(variables, expected, strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()


def test_all_state_is_in_the_variables() -> None:
    """What continues from a copy of them takes the same steps to the last bit."""
    first, first_variables = build(KERNELS)
    first.apply([tf.constant(gradient) for gradient in GRADIENTS[0]])
    first.update_bases()
    second, second_variables = build(KERNELS)
    for source, target in zip(
        [*first.variables, *first_variables], [*second.variables, *second_variables], strict=True
    ):
        target.assign(source.numpy())
    for optimizer in (first, second):
        optimizer.apply([tf.constant(gradient) for gradient in GRADIENTS[1]])
        optimizer.update_bases()
        optimizer.apply([tf.constant(gradient) for gradient in GRADIENTS[2]])
    for mine, theirs in zip(first_variables, second_variables, strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()


def test_a_covariance_that_is_not_finite_leaves_its_basis_alone() -> None:
    """The training then ends with the error that names the loss."""
    optimizer, _ = build(KERNELS)
    optimizer.apply([tf.constant(np.full_like(kernel, np.nan)) for kernel in KERNELS])
    optimizer.update_bases()
    bases = [variable.numpy() for variable in optimizer.variables if "basis" in variable.name]
    assert len(bases) == 4
    assert all(np.array_equal(basis, np.eye(len(basis))) for basis in bases)


@pytest.mark.parametrize(
    ("basis_steps", "due"), [(1, [1, 2, 3, 4, 5]), (3, [1, 2, 3, 6, 9]), (10, [1, 2, 4, 8, 10])]
)
def test_bases_are_updated_by_the_number_of_steps(basis_steps: int, due: list[int]) -> None:
    optimizer = Soap(BETA_2, basis_steps, MAX_SIDE)
    assert [step for step in range(1, 50) if optimizer.is_basis_due(step)][:5] == due


def test_of_trainings_at_once_none_lifts_the_limit_of_threads_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It holds for the whole process, and would end when the first of them has its bases."""

    def blas_threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen, update = [], soap._update_basis

    def slowly(side: soap.Side) -> NDArray[np.float32]:
        seen.append(blas_threads())
        time.sleep(0.05)
        return update(side)

    monkeypatch.setattr(soap, "_update_basis", slowly)
    optimizers = [build(KERNELS[:count])[0] for count in (1, 3)]
    before = blas_threads()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Soap.update_bases, optimizers))
    assert blas_threads() == before
    assert seen == 5 * [{1}]
