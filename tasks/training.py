"""Training one autoencoder: compiled segment and loop.

A segment of many optimizer steps is one call of one XLA-compiled function. Between two segments the
state of the training is plain NumPy, so it can be stored there and continued with the same bits.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tasks.architectures import CODE_LAYER, Autoencoder, build_autoencoder
from tasks.batches import (
    EVALUATION_ROWS,
    Images,
    Segment,
    SegmentPlan,
    blocks_in_order,
    cross_entropy,
    gather_block,
    normalize,
    shuffled_segments,
)
from tasks.code_units import rebalance
from tasks.errors import StepError
from tasks.recipes import TrainingSpec, learning_rates
from tasks.records import EpochRecord
from tasks.state import Progress, TrainingState

LOSS_EVERY = 4
"""The training loss is computed on every fourth step: its logarithms cost as much as the products
of the shallow model, and its gradient does not need its value."""


class Training:
    """One model on its way from its first weights to its last."""

    def __init__(
        self, spec: TrainingSpec, images: Images, validation: Images, scale: float
    ) -> None:
        """Build the model at its first weights; compile at the first segment.

        Args:
            images: (N, height, width) uint8.
            validation: (M, height, width) uint8.
            scale: the value that becomes 1.0.
        """
        self.spec = spec
        self.plan = SegmentPlan.of(images, spec.recipe.batch_size)
        self._images = images
        self._validation = validation
        self._scale = tf.constant(scale, tf.float32)
        pixels = images[0].size
        self.models: Autoencoder = build_autoencoder(
            spec.architecture, pixels, spec.seed, spec.recipe.kernels, spec.recipe.code_bias
        )
        self._optimizer = keras.optimizers.Adam(beta_2=spec.recipe.beta_2)
        self._optimizer.build(self.models.logits.trainable_variables)
        self._variables = [*self.models.logits.variables, *self._optimizer.variables]
        self._rates = learning_rates(spec.recipe, spec.recipe.epochs * self.plan.steps)
        self._run_segment = compile_segment(self.models.logits, self._optimizer, self.plan)
        self._sum_losses = compile_losses(self.models.logits)
        self._pre_activate = compile_pre_activations(self.models.logits)
        self._position = (0, 0)
        self._loss_sum, self._loss_rows = 0.0, 0
        self.history: tuple[EpochRecord, ...] = ()
        """One record for each finished epoch."""

    @property
    def state(self) -> TrainingState:
        """A copy of the present state."""
        variables = [variable.numpy() for variable in self._variables]
        return TrainingState(
            *self._position, self._loss_sum, self._loss_rows, self.history, variables
        )

    @property
    def progress(self) -> Progress:
        """Where the training stands."""
        epoch, segment = self._position
        epochs = self.spec.recipe.epochs
        in_epoch = min(segment * self.plan.segment_steps, self.plan.steps)
        steps_done = epoch * self.plan.steps + in_epoch
        return Progress(
            steps_done, epochs * self.plan.steps, len(self.history), epochs, self.history
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from `state`, which a training of the same spec and images left."""
        for variable, value in zip(self._variables, state.variables, strict=True):
            variable.assign(value)
        self._position = (state.epoch, state.segment)
        self._loss_sum, self._loss_rows = state.loss_sum, state.loss_rows
        self.history = state.history

    def run(self, after_segment: Callable[["Training"], None]) -> None:
        """Train to the end.

        Args:
            after_segment: called between segments; what it raises ends the training there.

        Raises:
            StepError: the loss is no longer a number.
        """
        for segment in self._segments():
            self._train_segment(segment)
            if segment.number + 1 == self.plan.segments:
                self._finish_epoch()
            after_segment(self)

    def _segments(self) -> Iterator[Segment]:
        recipe = self.spec.recipe
        return shuffled_segments(
            self._images, self.plan, self.spec.seed, recipe.epochs, self._position
        )

    def _train_segment(self, segment: Segment) -> None:
        first = segment.epoch * self.plan.steps + segment.first_step
        rates = np.zeros(self.plan.segment_steps, np.float32)
        steps = min(self.plan.segment_steps, self.plan.steps - segment.first_step)
        rates[:steps] = self._rates[first : first + steps]
        loss_sum, loss_rows = self._run_segment(
            segment.block.images, tf.constant(segment.block.rows), self._scale, rates
        )
        self._loss_sum += float(loss_sum)
        self._loss_rows += int(loss_rows)
        self._position = (segment.epoch, segment.number + 1)

    def _finish_epoch(self) -> None:
        loss = self._loss_sum / self._loss_rows
        epoch = len(self.history) + 1
        if epoch <= self.spec.recipe.rebalance * self.spec.recipe.epochs:
            self._rebalance_code()
        record = EpochRecord(loss=loss, validation_loss=self.validate())
        if not np.isfinite([record.loss, record.validation_loss]).all():
            raise StepError(
                f"The {self.spec.architecture.name} model's loss became {record.loss} in epoch "
                f"{epoch}, expected a finite number: lower the peak learning rate"
            )
        self.history = (*self.history, record)
        self._position = (epoch, 0)
        self._loss_sum, self._loss_rows = 0.0, 0

    def _rebalance_code(self) -> None:
        """Bring back code units that are dead or always positive on the first training images."""
        rows = min(len(self._images), EVALUATION_ROWS)
        block = gather_block(self._images, np.arange(rows), EVALUATION_ROWS)
        pre_activations = self._pre_activate(block.images, self._scale).numpy()[:rows]
        code, following = code_layers(self.models.logits)
        rebalanced = rebalance(
            pre_activations, code.bias.numpy(), following.kernel.numpy(), following.bias.numpy()
        )
        code.bias.assign(rebalanced.code_bias)
        following.bias.assign(rebalanced.next_bias)

    def validate(self) -> float:
        """Mean binary cross-entropy per pixel of the validation images, in nats."""
        total = 0.0
        for block in blocks_in_order(self._validation):
            losses = self._sum_losses(block.images, self._scale).numpy()
            total += float(losses[: block.rows].sum(dtype=np.float64))
        return total / self._validation.size


def compile_losses(logits: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Compile: (block of uint8 images, scale) -> loss of each, (EVALUATION_ROWS,) float32."""

    @tf.function(jit_compile=True, autograph=False)
    def sum_losses(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        images = tf.ensure_shape(images, (EVALUATION_ROWS, None))
        targets = normalize(images, scale)
        return cross_entropy(targets, logits(targets))

    return sum_losses


def code_layers(model: keras.Model) -> tuple[keras.layers.Dense, keras.layers.Dense]:
    """The code layer and the layer after it."""
    names = [layer.name for layer in model.layers]
    position = names.index(CODE_LAYER)
    return model.layers[position], model.layers[position + 1]


def compile_pre_activations(model: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Compile: (block of uint8 images, scale) -> code before its ReLU, (rows, code_size)."""
    code, _ = code_layers(model)
    features = keras.Model(model.inputs, code.input)

    @tf.function(jit_compile=True, autograph=False)
    def pre_activate(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return features(normalize(images, scale)) @ code.kernel + code.bias

    return pre_activate


def compile_segment(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, plan: SegmentPlan
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Compile a segment: a loop of optimizer steps over the batches of a block.

    The gradient of the mean cross-entropy with respect to the logits z of targets x is
    (sigmoid(z) - x) / count, which is written out here: it spares the loss's value. Rows beyond
    `rows` weigh nothing, so the last batch of an epoch needs no compilation of its own.

    Returns:
        (images (segment_steps * batch_size, pixels) uint8, rows, scale, rates (segment_steps,)) ->
        (sum of the per-pixel losses of the sampled rows, number of sampled rows).
    """
    weights = model.trainable_variables
    batch_size = plan.batch_size

    @tf.function(jit_compile=True, autograph=False)
    def run_segment(
        images: tf.Tensor, rows: tf.Tensor, scale: tf.Tensor, rates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = images.shape[1]

        def step(index: tf.Tensor, loss_sum: tf.Tensor, loss_rows: tf.Tensor) -> Any:
            batch = tf.slice(images, [index * batch_size, 0], [batch_size, pixels])
            targets = normalize(batch, scale)  # (batch_size, pixels)
            count = tf.minimum(rows - index * batch_size, batch_size)
            weight = tf.cast(tf.range(batch_size) < count, tf.float32)[:, tf.newaxis]
            with tf.GradientTape() as tape:
                logits = model(targets)
            mean_weight = weight / (tf.cast(count, tf.float32) * pixels)
            gradients = tape.gradient(
                logits, weights, output_gradients=(tf.sigmoid(logits) - targets) * mean_weight
            )
            optimizer.learning_rate.assign(rates[index])
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
            sampled, sampled_rows = tf.cond(
                index % LOSS_EVERY == 0,
                lambda: (tf.reduce_sum(cross_entropy(targets, logits) * weight[:, 0]), count),
                lambda: (tf.constant(0.0), tf.constant(0)),
            )
            return index + 1, loss_sum + sampled / pixels, loss_rows + sampled_rows

        return tf.while_loop(
            lambda index, *_: index * batch_size < rows,
            step,
            (tf.constant(0), tf.constant(0.0), tf.constant(0)),
        )[1:]

    return run_segment
