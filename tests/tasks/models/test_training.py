import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from tasks.core.backend import keras, tf
from tasks.core.errors import StepError
from tasks.models.anchoring import AnchorValues
from tasks.models.architectures import DEEP, SHALLOW, Architecture
from tasks.models.batches import NO_CODE, Codes, SegmentPlan
from tasks.models.checkpoints import TrainingState
from tasks.models.compiled import SegmentInputs, compile_steps, find_code_layers
from tasks.models.fingerprint import TRAINING_VERSION
from tasks.models.recipes import learning_rates
from tasks.models.spec import STRENGTH, Anchor, TrainingSpec, choose_recipe
from tasks.models.training import Training
from tests.conftest import SPEC, sample_images

Images = np.ndarray[Any, np.dtype[np.uint8]]

ANCHOR = Anchor(basis="a" * 64, fingerprint="f" * 64, scale=255.0, strength=STRENGTH)


class Sample(NamedTuple):
    train: Images
    test: Images


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(*sample_images())


def unit_scale(images: Images) -> np.ndarray[Any, np.dtype[np.float32]]:
    scaled: np.ndarray[Any, np.dtype[np.float32]] = images.reshape(-1, 784).astype(np.float32)
    return scaled / np.float32(255)


def anchor_codes(images: Images) -> Codes:
    """Codes of an anchor that was never trained, many of them zero; every seventh is missing."""
    projection = np.random.default_rng(0).normal(size=(784, 32))
    codes: Codes = np.maximum(unit_scale(images) @ projection / 10 + 0.5, 0).astype(np.float32)
    codes[::7] = NO_CODE
    return codes


def start(spec: TrainingSpec, sample: Sample) -> Training:
    """Start a training; an anchor has no layers in common with the model."""
    anchor = AnchorValues([], anchor_codes(sample.train)) if spec.anchor else None
    return Training(spec, sample.train, sample.test, scale=255.0, anchor=anchor)


def training_of(architecture: Architecture, epochs: int = 2) -> TrainingSpec:
    recipe = choose_recipe("default", architecture, epochs, batch_size=100)
    return TrainingSpec(architecture=architecture, recipe=recipe, seed=0)


def with_adam(spec: TrainingSpec) -> TrainingSpec:
    """The same training with Adam, which is compiled in a third of the time."""
    recipe = spec.recipe.model_copy(update={"optimizer": "adam"})
    return spec.model_copy(update={"recipe": recipe})


ANCHORED = training_of(DEEP).anchored_to(ANCHOR)
SPECS = {
    "shallow": training_of(SHALLOW),
    "deep": training_of(DEEP),
    "anchored": ANCHORED,
}
BITS = ("shallow", "deep", "anchored")
"""Those whose bits are compared."""


def finish(training: Training) -> None:
    for _ in training.advance():
        pass


@pytest.fixture(scope="module")
def finished(sample: Sample) -> Callable[[str], Training]:
    """Two epochs of one of `SPECS`, trained once for all tests; nothing may train it on."""

    @cache
    def train(name: str) -> Training:
        training = start(SPECS[name], sample)
        finish(training)
        return training

    return train


class CutTraining(NamedTuple):
    """A finished training, and its states wherever it could have been stopped."""

    training: Training
    states: list[TrainingState]


def start_short(name: str, sample: Sample) -> Training:
    """One of `SPECS`, in three segments an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.models.batches.SEGMENT_BYTES", 200 * 784)
        return start(SPECS[name], sample)


@pytest.fixture(scope="module")
def cut(sample: Sample) -> Callable[[str], CutTraining]:
    """Like `finished`, in short segments, each step in a call of its own."""

    @cache
    def train(name: str) -> CutTraining:
        training = start_short(name, sample)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tasks.models.training.CALL_SECONDS", 0.0)
            return CutTraining(training, [training.state for _ in training.advance()])

    return train


@pytest.fixture(scope="module")
def compiled(sample: Sample) -> Callable[[str], Training]:
    """Another training like `cut`, for tests that restore a state: compiling takes seconds."""
    return cache(lambda name: start_short(name, sample))


def weights(training: Training) -> str:
    digest = hashlib.sha256()
    for weight in training.models.autoencoder.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


@keras.saving.register_keras_serializable("tests")
class Spy(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Keeps what it sees."""

    def build(self, shape: Any) -> None:
        self.seen = self.add_weight(shape=(1, 256), trainable=False)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        self.seen.assign(inputs[:1])
        return inputs


def test_training_sees_what_numpy_would_compute() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 256)
    pixels = keras.Input((256,))
    spy = Spy()
    model = keras.Model(pixels, keras.layers.Dense(256)(spy(pixels)))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    plan = SegmentPlan(batch_size=1, steps=1, segment_steps=1)
    run = compile_steps(model, optimizer, plan)
    zeros = np.zeros(256, np.float32)
    one = tf.constant(1)
    inputs = SegmentInputs(tf.constant(values), one, tf.constant(255.0), zeros, zeros[:1])
    run(inputs, tf.constant(0), one)
    assert spy.seen.numpy().tobytes() == (values.astype("float32") / np.float32(255)).tobytes()


@pytest.mark.parametrize("anchored", [False, True])
def test_one_segment_does_what_keras_would_do(anchored: bool, sample: Sample) -> None:
    """Two epochs of ours against as many explicit steps of Keras on the same batches.

    With an anchor the loss is that of `Anchor`, of the code before its ReLU where the anchor's code
    is not zero.
    """
    recipe = SPEC.recipe.model_copy(update={"unit_variance": False})
    free = SPEC.model_copy(update={"recipe": recipe})
    spec = SPEC.anchored_to(ANCHOR) if anchored else free
    ours = start(spec, sample)
    reference = start(spec, sample).models.logits
    finish(ours)

    optimizer = keras.optimizers.Adam(beta_2=SPEC.recipe.beta_2)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    images, wanted = unit_scale(sample.train), anchor_codes(sample.train)
    code = reference.get_layer("code")
    rates = iter(learning_rates(SPEC.recipe, 12))
    for epoch in range(2):
        order = np.random.default_rng([SPEC.seed, epoch]).permutation(len(images))
        for first in range(0, len(images), 100):
            rows = order[first : first + 100]
            batch = images[rows]
            with tf.GradientTape() as tape:
                value = loss(batch, reference(batch))
                if anchored:
                    z = tf.matmul(batch, code.kernel) + code.bias
                    distance = tf.where(wanted[rows] > 0, z - wanted[rows], tf.nn.relu(z))
                    squares = tf.reduce_sum(tf.square(distance), axis=1) * (rows % 7 != 0)
                    value += STRENGTH / 32 * tf.reduce_mean(squares)
            optimizer.learning_rate = float(next(rates))
            gradients = tape.gradient(value, reference.trainable_variables)
            optimizer.apply_gradients(zip(gradients, reference.trainable_variables, strict=True))

    for mine, theirs in zip(ours.models.logits.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    targets = unit_scale(sample.test)
    expected = float(loss(targets, reference(targets)))
    assert ours.history[-1].validation_loss == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("name", BITS)
def test_the_same_training_gives_the_same_bits(
    name: str,
    sample: Sample,
    cut: Callable[[str], CutTraining],
    compiled: Callable[[str], Training],
) -> None:
    first, second = cut(name).training, compiled(name)
    second.restore(start(SPECS[name], sample).state)
    finish(second)
    assert weights(first) == weights(second)
    assert first.history == second.history


@pytest.mark.parametrize("name", BITS)
def test_resuming_at_any_moment_ends_with_the_same_bits(
    name: str, cut: Callable[[str], CutTraining], compiled: Callable[[str], Training]
) -> None:
    """Each state is restored into the training that was finished from the one before it."""
    whole, states = cut(name)
    resumed = compiled(name)
    steps = [state.position.step for state in states]
    # After each step, with all steps of the epoch before the validation's only block, at its end.
    assert steps == 2 * [1, 2, 3, 4, 5, 6, 6, 0]
    for state in states:
        resumed.restore(state)
        finish(resumed)
        assert weights(resumed) == weights(whole)
        assert resumed.history == whole.history


@pytest.mark.parametrize("name", BITS)
def test_cuts_change_no_bit(
    name: str, finished: Callable[[str], Training], cut: Callable[[str], CutTraining]
) -> None:
    whole, in_parts = finished(name), cut(name).training
    assert in_parts.plan.segments > whole.plan.segments
    assert weights(in_parts) == weights(whole)


def test_a_costly_model_can_be_stopped_within_a_segment(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = start(training_of(SHALLOW), sample)
    seconds, taken = [0.0], []

    def take(inputs: SegmentInputs, first: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, ...]:
        taken.append(int(stop - first))
        seconds[0] += 0.4 * taken[-1]
        return tf.zeros(6), tf.ones(6, tf.int32)

    monkeypatch.setattr(training, "_run_steps", take)
    monkeypatch.setattr("tasks.models.training.time.perf_counter", lambda: seconds[0])
    finish(training)
    assert training.plan.segment_steps == 6
    assert taken == [1, 2, 2, 1, 2, 2, 2]  # 0.8 seconds each, as soon as it is known


def test_a_deep_code_is_whitened_after_some_epochs(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = []
    monkeypatch.setattr(
        Training, "_whiten_code", lambda training: epochs.append(len(training.history))
    )
    finish(start(with_adam(training_of(DEEP, epochs=10)), sample))
    assert epochs == [5, 7, 8, 9]


def check_units(training: Training, sample: Sample) -> None:
    spread = training.models.encoder(unit_scale(sample.train)).numpy().std(axis=0)
    assert (spread > 0).sum() > 16  # so short a training revives no dead unit
    np.testing.assert_allclose(spread[spread > 0], 1, rtol=1e-3)


@pytest.mark.parametrize("name", ["shallow", "deep"])
def test_codes_have_units_of_standard_deviation_1(
    name: str, sample: Sample, finished: Callable[[str], Training]
) -> None:
    check_units(finished(name), sample)


def test_the_last_loss_is_that_of_the_finished_model(
    sample: Sample, finished: Callable[[str], Training]
) -> None:
    """It takes the images as they are, although it was trained on centred ones."""
    training = finished("deep")
    targets = unit_scale(sample.test)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = float(loss(targets, training.models.logits(targets)))
    assert training.history[-1].validation_loss == pytest.approx(expected, rel=1e-5)


def test_a_dead_code_unit_comes_back(sample: Sample, compiled: Callable[[str], Training]) -> None:
    training = compiled("deep")
    training.restore(start(SPECS["deep"], sample).state)
    code, _ = find_code_layers(training.models.logits)
    bias = code.bias.numpy()
    bias[3] = -100
    code.bias.assign(bias)
    finish(training)
    assert (training.models.encoder(unit_scale(sample.train)).numpy()[:, 3] > 0).mean() > 0.01


def test_a_dead_unit_of_an_anchored_code_comes_back(sample: Sample) -> None:
    training = start(with_adam(training_of(DEEP, epochs=10).anchored_to(ANCHOR)), sample)
    code = training.models.logits.get_layer("code")
    bias = code.bias.numpy()
    bias[3] = -5
    code.bias.assign(bias)
    finish(training)
    assert (training.models.encoder(unit_scale(sample.train)).numpy()[:, 3] > 0).mean() > 0.1


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP], ids=lambda a: a.name)
def test_an_anchored_model_starts_as_its_anchor(
    architecture: Architecture, sample: Sample, finished: Callable[[str], Training]
) -> None:
    """Its first codes are the anchor's, though it may be trained on images less their mean."""
    spec = SPECS[architecture.name]
    encoder, codes = finished(architecture.name).models.encoder, anchor_codes(sample.train)
    seeded = spec.anchored_to(ANCHOR).model_copy(update={"seed": 1})
    values = AnchorValues(encoder.get_weights(), codes)
    second = Training(seeded, sample.train, sample.test, 255.0, anchor=values)
    images = unit_scale(sample.test)
    centre = second.state.variables[-1]
    found = second.models.encoder(images - centre).numpy()
    expected = encoder(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_training_learns(sample: Sample) -> None:
    recipe = choose_recipe("default", SHALLOW, epochs=30, batch_size=64)
    training = start(SPEC.model_copy(update={"recipe": recipe}), sample)
    finish(training)
    losses = [epoch.validation_loss for epoch in training.history]
    assert losses[-1] < 0.36 < losses[0]
    assert training.progress.steps_done == training.progress.steps == 30 * 8


def test_a_loss_that_is_no_number_stops_the_training(sample: Sample) -> None:
    recipe = SPEC.recipe.model_copy(update={"peak_learning_rate": 1e30})
    training = start(SPEC.model_copy(update={"recipe": recipe}), sample)
    with pytest.raises(StepError, match="lower the peak learning rate"):
        finish(training)


def test_training_version_is_raised_when_weights_change(
    finished: Callable[[str], Training],
) -> None:
    """Rounded, so that it holds on other processors too, which may choose other eigenvectors."""
    losses = {
        name: [round(epoch.validation_loss, digits) for epoch in finished(name).history]
        for name, digits in (("shallow", 4), ("deep", 2))
    }
    expected = {"shallow": [0.5645, 0.515], "deep": [0.53, 0.48]}
    assert (TRAINING_VERSION, losses) == (3, expected), (
        "If trained weights were meant to change: raise TRAINING_VERSION, put the new values here "
        "and say in the change log that models are trained again after the update."
    )
