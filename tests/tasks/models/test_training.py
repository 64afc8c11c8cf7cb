import hashlib
from typing import Any, NamedTuple

import numpy as np
import pytest

from tasks.core.backend import keras, tf
from tasks.core.errors import StepError
from tasks.models.architectures import DEEP, SHALLOW, Architecture
from tasks.models.batches import SegmentPlan
from tasks.models.compiled import compile_segment, find_code_layers
from tasks.models.fingerprint import TRAINING_VERSION
from tasks.models.recipes import learning_rates
from tasks.models.spec import TrainingSpec, choose_recipe
from tasks.models.training import Training
from tests.conftest import SPEC, sample_images

Images = np.ndarray[Any, np.dtype[np.uint8]]


class Sample(NamedTuple):
    train: Images
    test: Images


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(*sample_images())


def start(spec: TrainingSpec, sample: Sample) -> Training:
    return Training(spec, sample.train, sample.test, scale=255.0)


def training_of(architecture: Architecture, epochs: int = 2) -> TrainingSpec:
    recipe = choose_recipe("default", architecture, epochs, batch_size=100)
    return TrainingSpec(architecture=architecture, recipe=recipe, seed=0)


def finish(training: Training) -> None:
    for _ in training.advance():
        pass


@pytest.fixture(scope="module")
def finished(sample: Sample) -> dict[str, Training]:
    """Two epochs of each of the lab's models, by name; nothing may train them on."""
    trainings = {a.name: start(training_of(a), sample) for a in (SHALLOW, DEEP)}
    for training in trainings.values():
        finish(training)
    return trainings


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
    inputs = keras.Input((256,))
    spy = Spy()
    model = keras.Model(inputs, keras.layers.Dense(256)(spy(inputs)))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    plan = SegmentPlan(batch_size=1, steps=1, segment_steps=1)
    run = compile_segment(model, optimizer, plan)
    run(tf.constant(values), tf.constant(1), tf.constant(255.0), np.zeros(1, np.float32))
    assert spy.seen.numpy().tobytes() == (values.astype("float32") / np.float32(255)).tobytes()


def test_one_segment_does_what_keras_would_do(sample: Sample) -> None:
    """Two epochs of ours against as many explicit steps of Keras on the same batches."""
    ours = start(SPEC, sample)
    reference = start(SPEC, sample).models.logits
    finish(ours)

    optimizer = keras.optimizers.Adam(beta_2=SPEC.recipe.beta_2)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    images = sample.train.reshape(-1, 784).astype("float32") / np.float32(255)
    rates = iter(learning_rates(SPEC.recipe, 12))
    for epoch in range(2):
        order = np.random.default_rng([SPEC.seed, epoch]).permutation(len(images))
        for first in range(0, len(images), 100):
            batch = images[order[first : first + 100]]
            with tf.GradientTape() as tape:
                value = loss(batch, reference(batch))
            optimizer.learning_rate = float(next(rates))
            gradients = tape.gradient(value, reference.trainable_variables)
            optimizer.apply_gradients(zip(gradients, reference.trainable_variables, strict=True))

    for mine, theirs in zip(ours.models.logits.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    targets = sample.test.reshape(-1, 784).astype("float32") / np.float32(255)
    expected = float(loss(targets, reference(targets)))
    assert ours.history[-1].validation_loss == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP], ids=lambda a: a.name)
def test_the_same_training_gives_the_same_bits(
    architecture: Architecture, sample: Sample, finished: dict[str, Training]
) -> None:
    first, second = finished[architecture.name], start(training_of(architecture), sample)
    finish(second)
    assert weights(first) == weights(second)
    assert first.history == second.history


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP], ids=lambda a: a.name)
def test_resuming_after_any_segment_ends_with_the_same_bits(
    architecture: Architecture,
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each state is restored into the training that was finished from the one before it."""
    monkeypatch.setattr("tasks.models.batches.SEGMENT_BYTES", 200 * 784)  # three segments an epoch
    spec = training_of(architecture)
    whole, resumed = start(spec, sample), start(spec, sample)
    states = [whole.state for _ in whole.advance()]
    assert len(states) == 6
    for state in states:
        resumed.restore(state)
        finish(resumed)
        assert weights(resumed) == weights(whole)
        assert resumed.history == whole.history


def test_segment_length_leaves_the_weights_alone(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start(SPEC, sample)
    finish(whole)
    monkeypatch.setattr("tasks.models.batches.SEGMENT_BYTES", 200 * 784)
    cut = start(SPEC, sample)
    finish(cut)
    assert cut.plan.segments > whole.plan.segments
    assert weights(cut) == weights(whole)


def test_code_units_are_rebalanced_after_all_but_the_last_epochs(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = []
    monkeypatch.setattr(
        Training, "_rebalance_code", lambda training: epochs.append(len(training.history))
    )
    finish(start(training_of(DEEP, epochs=10), sample))
    assert epochs == list(range(1, 10))


def test_a_dead_code_unit_comes_back(sample: Sample) -> None:
    training = start(training_of(DEEP), sample)
    code, _ = find_code_layers(training.models.logits)
    bias = code.bias.numpy()
    bias[3] = -100
    code.bias.assign(bias)
    finish(training)
    images = sample.train.reshape(-1, 784).astype("float32") / np.float32(255)
    assert (training.models.encoder(images).numpy()[:, 3] > 0).mean() > 0.01


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


def test_training_version_is_raised_when_weights_change(finished: dict[str, Training]) -> None:
    """Rounded, so that it holds on other processors too."""
    losses = [round(epoch.validation_loss, 4) for epoch in finished["deep"].history]
    assert (TRAINING_VERSION, losses) == (2, [0.5261, 0.4903]), (
        "If trained weights were meant to change: raise TRAINING_VERSION, put the new values here "
        "and say in the change log that models are trained again after the update."
    )
