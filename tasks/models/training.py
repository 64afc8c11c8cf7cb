"""Training one autoencoder, some optimizer steps at a time.

They are one call of one XLA-compiled function, for as many steps as take a second. Between two
calls the state of the training is plain NumPy: it can be stored there and continued with the same
bits, wherever the calls are cut.

Where the recipe says so, the model is trained on images less their mean. After the last epoch the
mean is folded into the first bias and the code's units are scaled. The losses of an epoch are those
of the model as it stands in training, before its code is whitened; the last validation loss is that
of the finished model, which takes the images as they are.

With an anchor, the encoder starts with the anchor's weights if both have the same layers.
"""

import time
from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import keras, tf
from tasks.core.errors import ModelError
from tasks.core.records import EpochRecord
from tasks.images.rows import Images
from tasks.models import basis
from tasks.models.anchoring import AnchorValues
from tasks.models.architectures import Autoencoder, build_autoencoder
from tasks.models.batches import (
    Segment,
    SegmentPlan,
    blocks_in_order,
    evaluation_blocks,
    shuffled_segments,
)
from tasks.models.checkpoints import Position, Progress, TrainingState
from tasks.models.compiled import (
    SegmentInputs,
    compile_losses,
    compile_pre_activations,
    compile_steps,
    find_code_layers,
    find_first_layer,
)
from tasks.models.recipes import Recipe, learning_rates
from tasks.models.soap import Soap
from tasks.models.spec import TrainingSpec

SAMPLE_ROWS = 2048
"""Training images that the mean image and the covariance of the code are computed from."""
CALL_SECONDS = 1.0
"""Seconds between two moments at which a training can be stored or stopped, if a step allows it."""


def _build_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.Optimizer:
    decay = recipe.weight_decay or None
    if recipe.optimizer == "soap":
        optimizer = Soap(recipe.beta_2, recipe.basis_steps, recipe.max_side, weight_decay=decay)
    else:
        optimizer = keras.optimizers.Adam(beta_2=recipe.beta_2, weight_decay=decay)
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
        anchor: AnchorValues | None = None,
    ) -> None:
        """Build the model with its first weights; compile at the first segment.

        Args:
            images: (N, height, width[, 3]).
            validation: (M, height, width[, 3]), of the same type.
            scale: the pixel value that becomes 1.0.
            sample: rows of images that represent all; the first `SAMPLE_ROWS` by default.
            anchor: of the images, if the spec names one.
        """
        self.spec = spec
        self.plan = SegmentPlan.of(images, spec.recipe.batch_size)
        self._images = images
        self._validation = validation
        self._anchor_codes = anchor.codes if anchor else None
        self._sample = np.arange(min(len(images), SAMPLE_ROWS)) if sample is None else sample
        self._scale = tf.constant(scale, tf.float32)
        self.models: Autoencoder = build_autoencoder(
            spec.architecture, images.shape[1:], spec.recipe, spec.seed
        )
        logits, recipe = self.models.logits, spec.recipe
        self._optimizer = _build_optimizer(recipe, logits)
        centre = self._mean_image() if recipe.centred else np.zeros(images[0].size, np.float32)
        self._centre = tf.Variable(centre)
        self._variables = [*logits.variables, *self._optimizer.variables, self._centre]
        self._rates = learning_rates(recipe, recipe.epochs * self.plan.steps)
        self._position = Position()
        self._call_steps = 1  # until it is known how long a step takes
        self._compile()
        if anchor:
            self._start_as(anchor)

    def _compile(self) -> None:
        logits, recipe, anchor = self.models.logits, self.spec.recipe, self.spec.anchor
        strength = anchor.strength if anchor else 0.0
        self._run_steps = compile_steps(logits, self._optimizer, self.plan, strength)
        self._sum_losses = compile_losses(logits)
        if recipe.centred:
            self._first_layer = find_first_layer(logits)
        if recipe.whiten or recipe.unit_variance:
            self._code_layers = find_code_layers(logits)
            self._pre_activate = compile_pre_activations(logits)

    def _start_as(self, anchor: AnchorValues) -> None:
        """Give the encoder the anchor's weights if the shapes are the same."""
        encoder = self.models.encoder
        if [tuple(weight.shape) for weight in encoder.weights] != [
            weight.shape for weight in anchor.weights
        ]:
            return
        encoder.set_weights(anchor.weights)
        if self.spec.recipe.centred:
            centre = -self._centre.numpy()
            _assign(self._first_layer, basis.fold_centre(centre, _read(self._first_layer)))

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
        steps, epochs = self.plan.steps, self.spec.recipe.epochs
        return Progress(
            steps_done=self._position.epoch * steps + self._position.step,
            steps=epochs * steps,
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
        """Train to the end of the last epoch, yielding about every `CALL_SECONDS`.

        Raises:
            ModelError: the loss is no longer a number.
        """
        if self._position.step == self.plan.steps:
            yield from self._finish_epoch()
        start = self._position.epoch, self._position.step
        recipe, seed, codes = self.spec.recipe, self.spec.seed, self._anchor_codes
        for segment in shuffled_segments(
            self._images, self.plan, seed, recipe.epochs, start, recipe.shifted, codes
        ):
            yield from self._train_segment(segment)
            if self._position.step == self.plan.steps:
                yield from self._finish_epoch()

    def _train_segment(self, segment: Segment) -> Iterator[None]:
        """Train from the present step to the end of the segment."""
        before = segment.epoch * self.plan.steps + segment.first_step
        rates = np.zeros(self.plan.segment_steps, np.float32)
        rates[: segment.steps] = self._rates[before : before + segment.steps]
        inputs = SegmentInputs(
            segment.block.images,
            tf.constant(segment.block.rows),
            self._scale,
            self._centre,
            rates,
            segment.anchor_codes,
        )
        start = self._position.step - segment.first_step
        while start < segment.steps:
            last = min(start + self._call_steps, segment.steps)
            stop = next((n for n in range(start + 1, last) if self._is_basis_due(before + n)), last)
            self._take_steps(inputs, start, stop)
            if self._is_basis_due(before + stop):
                self._optimizer.update_bases()
            start = stop
            yield

    def _take_steps(self, inputs: SegmentInputs, start: int, stop: int) -> None:
        """Take the steps `start` to `stop` of a segment."""
        began, position = time.perf_counter(), self._position
        losses, rows = self._run_steps(inputs, tf.constant(start), tf.constant(stop))
        loss_sum = position.loss_sum
        for loss in losses.numpy().tolist():  # one by one: the sum is the same for any cut
            loss_sum += loss
        seconds = (time.perf_counter() - began) / (stop - start)
        self._call_steps = max(1, int(CALL_SECONDS / seconds))
        self._position = position.model_copy(
            update={
                "step": position.step + stop - start,
                "loss_sum": loss_sum,
                "loss_rows": position.loss_rows + int(rows.numpy().sum()),
            }
        )

    def _is_basis_due(self, steps: int) -> bool:
        """Whether the eigenbases are updated after so many steps."""
        return isinstance(self._optimizer, Soap) and self._optimizer.is_basis_due(steps)

    def _finish_epoch(self) -> Iterator[None]:
        epoch, recipe = len(self.history) + 1, self.spec.recipe
        if epoch == recipe.epochs and not self._position.finished:
            self._finish_model()
            self._position = self._position.model_copy(update={"finished": True})
        loss = self._position.loss_sum / self._position.loss_rows
        record = EpochRecord(loss=loss, validation_loss=(yield from self._validate()))
        if not np.isfinite([record.loss, record.validation_loss]).all():
            raise ModelError(
                f"The {self.spec.architecture.name} model's loss became {record.loss} in epoch "
                f"{epoch}, expected a finite number: lower the peak learning rate"
            )
        self._position = Position(epoch=epoch, history=(*self.history, record))
        if epoch in recipe.whitening_epochs:
            self._whiten_code()  # after the losses, which it disturbs
        yield

    def _finish_model(self) -> None:
        """Scale the code's units and fold the mean image into the first bias."""
        if self.spec.recipe.unit_variance:
            self._change_code(basis.scale_units(self._sample_code(), self._read_code_layers()))
        if self.spec.recipe.centred:
            centre = self._centre.numpy()
            _assign(self._first_layer, basis.fold_centre(centre, _read(self._first_layer)))
            self._centre.assign(np.zeros_like(centre))

    def _whiten_code(self) -> None:
        """Revive dead units of the code; whiten it, unless its ReLU acts."""
        code = self._sample_code()
        layers = basis.revive(code, self._read_code_layers())
        if not basis.relu_acts(code, layers.following):
            layers = basis.whiten(code, layers)
        self._change_code(layers)

    def _sample_code(self) -> NDArray[np.float32]:
        """The code of the sample's images before its ReLU, (rows of the sample, code_size)."""
        return np.concatenate(
            [
                self._pre_activate(block.images, self._scale, self._centre).numpy()[: block.rows]
                for block in evaluation_blocks(self._images, self._sample)
            ]
        )

    def _read_code_layers(self) -> basis.CodeLayers:
        return basis.CodeLayers(*map(_read, self._code_layers))

    def _change_code(self, changed: basis.CodeLayers) -> None:
        for layer, values in zip(self._code_layers, changed, strict=True):
            _assign(layer, values)

    def _mean_image(self) -> NDArray[np.float32]:
        """The mean of the sample's images in 0..1, (pixels,)."""
        total = np.zeros(self._images[0].size)
        for block in evaluation_blocks(self._images, self._sample):
            total += block.images.numpy()[: block.rows].sum(axis=0, dtype=np.float64)
        mean: NDArray[np.float32] = (total / len(self._sample) / self._scale.numpy()).astype("f4")
        return mean

    def _validate(self) -> Generator[None, None, float]:
        """Mean binary cross-entropy per pixel of the validation images, in nats."""
        total = 0.0
        for block in blocks_in_order(self._validation):
            yield
            losses = self._sum_losses(block.images, self._scale, self._centre).numpy()
            total += float(losses[: block.rows].sum(dtype=np.float64))
        return total / self._validation.size


def _read(layer: keras.layers.Dense) -> basis.Affine:
    return basis.Affine(*(variable.numpy().astype(np.float64) for variable in _weights(layer)))


def _assign(layer: keras.layers.Dense, values: basis.Affine) -> None:
    for variable, value in zip(_weights(layer), values, strict=True):
        variable.assign(value.astype(np.float32))


def _weights(layer: keras.layers.Dense) -> list[keras.Variable]:
    return [layer.kernel, layer.bias]
