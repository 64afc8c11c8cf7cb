"""Training one autoencoder, segment by segment.

A segment of many optimizer steps is one call of one XLA-compiled function. Between two segments the
state of the training is plain NumPy, so it can be stored there and continued with the same bits.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import keras, tf
from tasks.core.errors import StepError
from tasks.core.records import EpochRecord
from tasks.images.rows import Images
from tasks.models.architectures import Autoencoder, build_autoencoder
from tasks.models.batches import (
    Segment,
    SegmentPlan,
    blocks_in_order,
    evaluation_blocks,
    shuffled_segments,
)
from tasks.models.code_units import rebalance
from tasks.models.compiled import (
    code_layers,
    compile_losses,
    compile_pre_activations,
    compile_segment,
)
from tasks.models.recipes import Recipe, TrainingSpec, learning_rates
from tasks.models.state import Progress, TrainingState

SAMPLE_ROWS = 2048
"""Training images that tell which units of a code are dead."""


def _mean_pixel(images: Images, scale: float) -> float:
    return float(images.mean(dtype=np.float64)) / scale


def _build_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(
        beta_2=recipe.beta_2, weight_decay=recipe.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(model.trainable_variables)
    return optimizer


class Training:
    """One model on its way from its first weights to its last."""

    def __init__(
        self,
        spec: TrainingSpec,
        images: Images,
        validation: Images,
        scale: float,
        sample: NDArray[np.int64] | None = None,
    ) -> None:
        """Build the model at its first weights; compile at the first segment.

        Args:
            images: (N, height, width[, 3]).
            validation: (M, height, width[, 3]), of the same type.
            scale: the value that becomes 1.0.
            sample: rows of images that stand for all; the first `SAMPLE_ROWS` by default.
        """
        self.spec = spec
        self.plan = SegmentPlan.of(images, spec.recipe.batch_size)
        self._images = images
        self._validation = validation
        self._sample = np.arange(min(len(images), SAMPLE_ROWS)) if sample is None else sample
        self._scale = tf.constant(scale, tf.float32)
        self.models: Autoencoder = build_autoencoder(
            spec.architecture,
            pixels=images[0].size,
            seed=spec.seed,
            kernels=spec.recipe.kernels,
            code_bias=spec.recipe.code_bias,
            centre=_mean_pixel(images, scale) if spec.architecture.centred else 0.0,
        )
        self._optimizer = _build_optimizer(spec.recipe, self.models.logits)
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

    def advance(self) -> Iterator[None]:
        """Train to the end of the last epoch, giving way between segments.

        Raises:
            StepError: the loss is no longer a number.
        """
        epochs = self.spec.recipe.epochs
        for segment in shuffled_segments(
            self._images, self.plan, self.spec.seed, epochs, self._position
        ):
            self._train_segment(segment)
            if segment.number + 1 == self.plan.segments:
                self._finish_epoch()
            yield

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
        record = EpochRecord(loss=loss, validation_loss=self.validate())
        if not np.isfinite([record.loss, record.validation_loss]).all():
            raise StepError(
                f"The {self.spec.architecture.name} model's loss became {record.loss} in epoch "
                f"{epoch}, expected a finite number: lower the peak learning rate"
            )
        self.history = (*self.history, record)
        if epoch <= self.spec.recipe.rebalance * self.spec.recipe.epochs:
            self._rebalance_code()  # for the next epoch: its disturbance is not this one's loss
        self._position = (epoch, 0)
        self._loss_sum, self._loss_rows = 0.0, 0

    def _rebalance_code(self) -> None:
        """Bring back code units that are dead or always positive on a sample of the images."""
        pre_activations = np.concatenate(
            [
                self._pre_activate(block.images, self._scale).numpy()[: block.rows]
                for block in evaluation_blocks(self._images, self._sample)
            ]
        )
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
