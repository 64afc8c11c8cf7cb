import hashlib
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

from tasks.core.backend import keras, tf
from tasks.core.errors import StepError
from tasks.models.architectures import DEEP, SHALLOW, WIDE, Architecture
from tasks.models.batches import SegmentPlan
from tasks.models.compiled import compile_segment, find_code_layers
from tasks.models.fingerprint import TRAINING_VERSION
from tasks.models.recipes import learning_rates
from tasks.models.spec import TrainingSpec, choose_recipe
from tasks.models.training import Training
from tests.conftest import SPEC, sample_images

pytestmark = pytest.mark.xdist_group("training")  # finished trainings are shared

Images = np.ndarray[Any, np.dtype[np.uint8]]

ONE_CORE = """
from tests.tasks.models.test_training import *
training = start(training_of(DEEP), Sample(*sample_images()))
finish(training)
print(weights(training))
"""


class Sample(NamedTuple):
    train: Images
    test: Images


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample(*sample_images())


def unit_scale(images: Images) -> np.ndarray[Any, np.dtype[np.float32]]:
    scaled: np.ndarray[Any, np.dtype[np.float32]] = images.reshape(-1, 784).astype(np.float32)
    return scaled / np.float32(255)


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
    zeros = np.zeros(256, np.float32)
    one = tf.constant(1)
    run(tf.constant(values), one, tf.constant(255.0), zeros, zeros[:1], tf.constant(0), one)
    assert spy.seen.numpy().tobytes() == (values.astype("float32") / np.float32(255)).tobytes()


def test_one_segment_does_what_keras_would_do(sample: Sample) -> None:
    """Two epochs of ours against as many explicit steps of Keras on the same batches."""
    recipe = SPEC.recipe.model_copy(update={"unit_variance": False})
    spec = SPEC.model_copy(update={"recipe": recipe})
    ours = start(spec, sample)
    reference = start(spec, sample).models.logits
    finish(ours)

    optimizer = keras.optimizers.Adam(beta_2=SPEC.recipe.beta_2)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    images = unit_scale(sample.train)
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
    targets = unit_scale(sample.test)
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


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP], ids=lambda a: a.name)
def test_segment_length_leaves_the_weights_alone(
    architecture: Architecture,
    sample: Sample,
    finished: dict[str, Training],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = finished[architecture.name]
    monkeypatch.setattr("tasks.models.batches.SEGMENT_BYTES", 200 * 784)
    cut = start(training_of(architecture), sample)
    finish(cut)
    assert cut.plan.segments > whole.plan.segments
    assert weights(cut) == weights(whole)


def test_what_one_core_computes_is_what_all_compute(finished: dict[str, Training]) -> None:
    """The eigenbases too."""
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + ONE_CORE
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == weights(finished["deep"]), done.stderr


def test_a_deep_code_is_whitened_after_some_epochs(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = []
    monkeypatch.setattr(
        Training, "_whiten_code", lambda training: epochs.append(len(training.history))
    )
    finish(start(training_of(DEEP, epochs=10), sample))
    assert epochs == [5, 7, 8, 9]


@pytest.mark.parametrize("architecture", [SHALLOW, DEEP, WIDE], ids=lambda a: a.name)
def test_codes_have_units_of_standard_deviation_1(
    architecture: Architecture, sample: Sample
) -> None:
    training = start(training_of(architecture), sample)
    finish(training)
    spread = training.models.encoder(unit_scale(sample.train)).numpy().std(axis=0)
    assert (spread > 0).sum() > 16  # so short a training revives no dead unit
    np.testing.assert_allclose(spread[spread > 0], 1, rtol=1e-3)


def test_the_last_loss_is_that_of_the_finished_model(sample: Sample) -> None:
    """It takes the images as they are, although it was trained on centred ones."""
    training = start(training_of(DEEP, epochs=3), sample)
    finish(training)
    targets = unit_scale(sample.test)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = float(loss(targets, training.models.logits(targets)))
    assert training.history[-1].validation_loss == pytest.approx(expected, rel=1e-5)


def test_a_dead_code_unit_comes_back(sample: Sample) -> None:
    training = start(training_of(DEEP), sample)
    code, _ = find_code_layers(training.models.logits)
    bias = code.bias.numpy()
    bias[3] = -100
    code.bias.assign(bias)
    finish(training)
    assert (training.models.encoder(unit_scale(sample.train)).numpy()[:, 3] > 0).mean() > 0.01


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
    """Rounded, so that it holds on other processors too, which may choose other eigenvectors."""
    losses = {
        name: [round(epoch.validation_loss, digits) for epoch in finished[name].history]
        for name, digits in (("shallow", 4), ("deep", 2))
    }
    expected = {"shallow": [0.5645, 0.515], "deep": [0.53, 0.48]}
    assert (TRAINING_VERSION, losses) == (3, expected), (
        "If trained weights were meant to change: raise TRAINING_VERSION, put the new values here "
        "and say in the change log that models are trained again after the update."
    )
