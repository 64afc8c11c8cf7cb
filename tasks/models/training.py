"""Training one autoencoder, segment by segment.

A segment of many optimizer steps is one call of one XLA-compiled function. Between two segments the
state of the training is plain NumPy: it can be stored there and continued with the same bits.
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
    compile_losses,
    compile_pre_activations,
    compile_segment,
    find_code_layers,
)
from tasks.models.recipes import Recipe, learning_rates
from tasks.models.spec import TrainingSpec
from tasks.models.state import Position, Progress, TrainingState

SAMPLE_ROWS = 2048
"""Training images that show which units of a code are dead."""


def _build_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(
        beta_2=recipe.beta_2, weight_decay=recipe.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(model.trainable_variables)
    return optimizer


class Training:
    """The training of one model, from its first weights to its last."""

    def __init__(
        self,
        spec: TrainingSpec,
        images: Images,
        validation: Images,
        scale: float,
        sample: NDArray[np.int64] | None = None,
    ) -> None:
        """Build the model with its first weights; compile at the first segment.

        Args:
            images: (N, height, width[, 3]).
            validation: (M, height, width[, 3]), of the same type.
            scale: the pixel value that becomes 1.0.
            sample: rows of images that represent all; the first `SAMPLE_ROWS` by default.
        """
        self.spec = spec
        self.plan = SegmentPlan.of(images, spec.recipe.batch_size)
        self._images = images
        self._validation = validation
        self._sample = np.arange(min(len(images), SAMPLE_ROWS)) if sample is None else sample
        self._scale = tf.constant(scale, tf.float32)
        centred = spec.architecture.centred
        mean_pixel = float(images.mean(dtype=np.float64)) / scale if centred else 0.0
        self.models: Autoencoder = build_autoencoder(
            spec.architecture, images.shape[1:], spec.recipe, spec.seed, mean_pixel
        )
        logits = self.models.logits
        optimizer = _build_optimizer(spec.recipe, logits)
        self._variables = [*logits.variables, *optimizer.variables]
        self._rates = learning_rates(spec.recipe, spec.recipe.epochs * self.plan.steps)
        self._run_segment = compile_segment(logits, optimizer, self.plan)
        self._sum_losses = compile_losses(logits)
        if spec.recipe.rebalance:
            self._code_layers = find_code_layers(logits)
            self._pre_activate = compile_pre_activations(logits)
        self._position = Position()

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """One record for each finished epoch."""
        return self._position.history

    @property
    def state(self) -> TrainingState:
        """A copy of the present state."""
        return TrainingState(self._position, [variable.numpy() for variable in self._variables])

    @property
    def progress(self) -> Progress:
        """How far the training has come."""
        plan, epochs = self.plan, self.spec.recipe.epochs
        in_epoch = min(self._position.segment * plan.segment_steps, plan.steps)
        return Progress(
            steps_done=self._position.epoch * plan.steps + in_epoch,
            steps=epochs * plan.steps,
            epochs_done=len(self.history),
            epochs=epochs,
            history=self.history,
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from the state of a training with the same spec and images."""
        for variable, value in zip(self._variables, state.variables, strict=True):
            variable.assign(value)
        self._position = state.position

    def advance(self) -> Iterator[None]:
        """Train to the end of the last epoch, yielding after every segment.

        Raises:
            StepError: the loss is no longer a number.
        """
        start = self._position.epoch, self._position.segment
        epochs = self.spec.recipe.epochs
        for segment in shuffled_segments(self._images, self.plan, self.spec.seed, epochs, start):
            self._train_segment(segment)
            if segment.number + 1 == self.plan.segments:
                self._finish_epoch()
            yield

    def _train_segment(self, segment: Segment) -> None:
        plan, position = self.plan, self._position
        first = segment.epoch * plan.steps + segment.first_step
        rates = np.zeros(plan.segment_steps, np.float32)
        steps = min(plan.segment_steps, plan.steps - segment.first_step)
        rates[:steps] = self._rates[first : first + steps]
        loss_sum, loss_rows = self._run_segment(
            segment.block.images, tf.constant(segment.block.rows), self._scale, rates
        )
        self._position = Position(
            epoch=segment.epoch,
            segment=segment.number + 1,
            loss_sum=position.loss_sum + float(loss_sum),
            loss_rows=position.loss_rows + int(loss_rows),
            history=position.history,
        )

    def _finish_epoch(self) -> None:
        loss = self._position.loss_sum / self._position.loss_rows
        epoch, recipe = len(self.history) + 1, self.spec.recipe
        record = EpochRecord(loss=loss, validation_loss=self.validate())
        if not np.isfinite([record.loss, record.validation_loss]).all():
            raise StepError(
                f"The {self.spec.architecture.name} model's loss became {record.loss} in epoch "
                f"{epoch}, expected a finite number: lower the peak learning rate"
            )
        self._position = Position(epoch=epoch, history=(*self.history, record))
        if recipe.rebalance and epoch <= recipe.rebalance * recipe.epochs:
            self._rebalance_code()  # after the losses, which it disturbs

    def _rebalance_code(self) -> None:
        """Revive code units that are dead or always positive on a sample of the images."""
        pre_activations = np.concatenate(
            [
                self._pre_activate(block.images, self._scale).numpy()[: block.rows]
                for block in evaluation_blocks(self._images, self._sample)
            ]
        )
        code, following = self._code_layers
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
