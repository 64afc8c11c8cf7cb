"""The functions that XLA compiles: what a model does with a block of images.

Each is compiled once, for one shape of block.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.core.backend import keras, tf
from tasks.images.rows import evaluation_rows
from tasks.models.architectures import CODE_LAYER, LOGITS_LAYER
from tasks.models.batches import SegmentPlan

LOSS_EVERY = 4
"""The training loss is computed on every fourth step: its logarithms cost as much as the products
of the shallow model, and its gradient does not need its value."""


def normalize(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Pixels to float32 in 0..1, bit-equal to `tasks.evaluation.metrics.on_unit_scale`.

    Test images can be brighter than the training images that set the scale; that becomes 1.0 too.
    `scale` must be an argument of the compiled function: XLA turns division by a constant into a
    multiplication with its reciprocal, which differs for 126 of the 256 values.
    """
    return tf.minimum(tf.cast(images, tf.float32) / scale, 1.0)


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of each image, summed over its pixels, in nats: (rows,) float32."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)


def compile_losses(logits: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Compile: (block of images, scale) -> loss of each, (rows of the block,) float32."""
    shape = _block_shape(logits)

    @tf.function(jit_compile=True, autograph=False)
    def sum_losses(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        targets = normalize(tf.ensure_shape(images, shape), scale)
        return cross_entropy(targets, logits(targets))

    return sum_losses


def code_layers(model: keras.Model) -> tuple[keras.layers.Dense, keras.layers.Dense]:
    """The code layer and the layer after it."""
    names = [layer.name for layer in model.layers]
    position = names.index(CODE_LAYER)
    return model.layers[position], model.layers[position + 1]


def compile_pre_activations(model: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Compile: (block of images, scale) -> code before its ReLU, (rows of the block, code_size)."""
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

    Returns:
        (images (segment_steps * batch_size, pixels), rows, scale, rates (segment_steps,)) ->
        (sum of the per-pixel losses of the sampled rows, number of sampled rows).
    """

    @tf.function(jit_compile=True, autograph=False)
    def run_segment(
        images: tf.Tensor, rows: tf.Tensor, scale: tf.Tensor, rates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def step(index: tf.Tensor, loss_sum: tf.Tensor, loss_rows: tf.Tensor) -> Any:
            batch = _cut_batch(images, rows, scale, index, plan.batch_size)
            logits = _descend(model, optimizer, batch, rates[index])
            sampled, sampled_rows = _sample_loss(batch, logits, index)
            return index + 1, loss_sum + sampled / images.shape[1], loss_rows + sampled_rows

        return tf.while_loop(
            lambda index, *_: index * plan.batch_size < rows,
            step,
            (tf.constant(0), tf.constant(0.0), tf.constant(0)),
        )[1:]

    return run_segment


class _Batch(NamedTuple):
    """The images of one optimizer step.

    Rows beyond those of the block weigh nothing, so the last batch of an epoch needs no
    compilation of its own.
    """

    targets: tf.Tensor
    """(batch_size, pixels) float32."""
    count: tf.Tensor
    """Rows that weigh, a whole number."""
    weight: tf.Tensor
    """(batch_size, 1) float32, 1 for those and 0 for the others."""


def _cut_batch(
    images: tf.Tensor, rows: tf.Tensor, scale: tf.Tensor, index: tf.Tensor, batch_size: int
) -> _Batch:
    batch = tf.slice(images, [index * batch_size, 0], [batch_size, images.shape[1]])
    targets = normalize(batch, scale)
    count = tf.minimum(rows - index * batch_size, batch_size)
    weight = tf.cast(tf.range(batch_size) < count, tf.float32)[:, tf.newaxis]
    return _Batch(targets, count, weight)


def _descend(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, batch: _Batch, rate: tf.Tensor
) -> tf.Tensor:
    """Take one optimizer step; return the logits before it, (batch_size, pixels).

    The gradient of the mean cross-entropy with respect to the logits z of targets x is
    (sigmoid(z) - x) / count, which is written out here: it spares the loss's value.
    """
    weights = model.trainable_variables
    with tf.GradientTape() as tape:
        logits = model(batch.targets)
    mean_weight = batch.weight / (tf.cast(batch.count, tf.float32) * batch.targets.shape[1])
    gradients = tape.gradient(
        logits, weights, output_gradients=(tf.sigmoid(logits) - batch.targets) * mean_weight
    )
    optimizer.learning_rate.assign(rate)
    optimizer.apply_gradients(zip(gradients, weights, strict=True))
    return logits


def _sample_loss(batch: _Batch, logits: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Sum of the batch's losses and its rows, on every `LOSS_EVERY`th step; zeros on the others."""

    def losses() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.reduce_sum(cross_entropy(batch.targets, logits) * batch.weight[:, 0]), batch.count

    found: tuple[tf.Tensor, tf.Tensor] = tf.cond(
        index % LOSS_EVERY == 0, losses, lambda: (tf.constant(0.0), tf.constant(0))
    )
    return found


def compile_encoder(autoencoder: keras.Model) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Compile: (block of images, scale) -> codes, mean squared errors."""
    model, shape = _codes_and_logits(autoencoder), _block_shape(autoencoder)

    @tf.function(jit_compile=True, autograph=False)
    def encode_block(images: tf.Tensor, scale: tf.Tensor) -> tuple[Any, ...]:
        targets = normalize(tf.ensure_shape(images, shape), scale)
        codes, logits = model(targets)
        return codes, _squared_errors(tf.sigmoid(logits), targets)

    return encode_block


def compile_autoencoder(autoencoder: keras.Model) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Compile: (block of images, scale) -> codes, reconstructions, losses, squared errors.

    The last two are means over each image's pixels.
    """
    model, shape = _codes_and_logits(autoencoder), _block_shape(autoencoder)

    @tf.function(jit_compile=True, autograph=False)
    def run_block(images: tf.Tensor, scale: tf.Tensor) -> tuple[Any, ...]:
        targets = normalize(tf.ensure_shape(images, shape), scale)
        codes, logits = model(targets)
        reconstructions = tf.sigmoid(logits)
        losses = cross_entropy(targets, logits) / targets.shape[1]
        return codes, reconstructions, losses, _squared_errors(reconstructions, targets)

    return run_block


def _block_shape(model: keras.Model) -> tuple[int, int]:
    """The one shape of block that a model evaluates: bits depend on it."""
    pixels = model.inputs[0].shape[1]
    return evaluation_rows(pixels), pixels


def _codes_and_logits(autoencoder: keras.Model) -> keras.Model:
    layers = (autoencoder.get_layer(name) for name in (CODE_LAYER, LOGITS_LAYER))
    return keras.Model(autoencoder.inputs, [layer.output for layer in layers])


def _squared_errors(reconstructions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.math.squared_difference(reconstructions, targets), axis=1)
