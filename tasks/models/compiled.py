"""The functions that XLA compiles: what a model does with a block of images.

Each is compiled once, for one shape of block.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.core.backend import keras, tf
from tasks.images.rows import evaluation_rows
from tasks.models.architectures import CODE_LAYER, LOGITS_LAYER
from tasks.models.batches import NO_CODE, SegmentPlan

LOSS_EVERY = 4
"""The training loss is computed on every fourth step: its logarithms cost as much as the products
of the shallow model, and its gradient does not need its value."""


def normalize(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Pixels to float32 in 0..1, bit-equal to `tasks.evaluation.metrics.on_unit_scale`.

    Test images can be brighter than the training images that set the scale; they are clipped to 1.
    `scale` must be an argument of the compiled function: XLA turns division by a constant into a
    multiplication with its reciprocal, which differs for 126 of the 256 values.
    """
    return tf.minimum(tf.cast(images, tf.float32) / scale, 1.0)


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy of each image, summed over its pixels, in nats: (rows,) float32."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)


def compile_losses(logits: keras.Model) -> Callable[..., tf.Tensor]:
    """Compile: (block of images, scale, centre) -> loss of each, (rows of the block,) float32.

    The model sees the normalized images less `centre`, (pixels,) float32; here and below.
    """
    shape = _block_shape(logits)

    @tf.function(jit_compile=True, autograph=False)
    def sum_losses(images: tf.Tensor, scale: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
        targets = normalize(tf.ensure_shape(images, shape), scale)
        return cross_entropy(targets, logits(targets - centre))

    return sum_losses


def find_code_layers(model: keras.Model) -> list[keras.layers.Dense]:
    """The code layer and the only one that takes the code, both dense.

    Raises:
        ValueError: there are no such layers.
    """
    code = model.get_layer(CODE_LAYER)
    layers = [code, *_layers_after(model, code.output)]
    if len(layers) != 2 or not all(isinstance(layer, keras.layers.Dense) for layer in layers):
        names = ", ".join(layer.name for layer in layers[1:])
        raise ValueError(
            f"The code layer of {model.name} and what follows it ({names}) are not two dense "
            "layers: set whiten=() and unit_variance=False in the recipe"
        )
    return layers


def find_first_layer(model: keras.Model) -> keras.layers.Dense:
    """The only layer that takes the images; it is dense.

    Raises:
        ValueError: there is no such layer.
    """
    layers = _layers_after(model, model.inputs[0])
    if len(layers) != 1 or not isinstance(layers[0], keras.layers.Dense):
        names = ", ".join(layer.name for layer in layers)
        raise ValueError(
            f"{model.name} starts with {names}, expected one dense layer: set centred=False in "
            "the recipe"
        )
    return layers[0]


def _layers_after(model: keras.Model, tensor: keras.KerasTensor) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
        and any(taken is tensor for taken in keras.tree.flatten(layer.input))
    ]


def compile_pre_activations(model: keras.Model) -> Callable[..., tf.Tensor]:
    """Compile: (block of images, scale, centre) -> code before its ReLU, (rows, code_size)."""
    code = model.get_layer(CODE_LAYER)
    features = keras.Model(model.inputs, code.input)

    @tf.function(jit_compile=True, autograph=False)
    def pre_activate(images: tf.Tensor, scale: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
        return features(normalize(images, scale) - centre) @ code.kernel + code.bias

    return pre_activate


class SegmentInputs(NamedTuple):
    """What the optimizer steps of a segment work on."""

    images: tf.Tensor
    """(segment_steps * batch_size, pixels)."""
    rows: tf.Tensor
    """How many of them are not padding."""
    scale: tf.Tensor
    centre: tf.Tensor
    rates: tf.Tensor
    """Learning rates, (segment_steps,) float32."""
    anchor_codes: tf.Tensor | None = None
    """With an anchor its codes of the images, (segment_steps * batch_size, code_size)."""


def compile_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    plan: SegmentPlan,
    anchor_strength: float = 0.0,
) -> Callable[[SegmentInputs, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Compile a loop of optimizer steps over some of the batches of a block.

    Rows beyond those of the block have weight 0, so the last batch of an epoch needs no
    compilation of its own.

    Args:
        anchor_strength: see `tasks.models.spec.Anchor`; 0 without an anchor.

    Returns:
        (inputs, first batch, batch after the last one) -> for each batch of a block, zero where it
        was not sampled: (sum of its rows' losses per pixel, number of its rows), (segment_steps,).
    """
    take_step = _build_step(model, optimizer, plan.batch_size, anchor_strength)

    @tf.function(jit_compile=True, autograph=False)
    def run_steps(
        inputs: SegmentInputs, first: tf.Tensor, stop: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def step(index: tf.Tensor, *sampled: tf.TensorArray) -> Any:
            found = take_step(inputs, index)
            return index + 1, *(a.write(index, b) for a, b in zip(sampled, found, strict=True))

        arrays = [_zeros(plan.segment_steps, dtype) for dtype in (tf.float32, tf.int32)]
        _, losses, rows = tf.while_loop(lambda index, *_: index < stop, step, (first, *arrays))
        return losses.stack(), rows.stack()

    return run_steps


def _zeros(size: int, dtype: tf.DType) -> tf.TensorArray:
    return tf.TensorArray(dtype, size).unstack(tf.zeros(size, dtype))


def _build_step(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, size: int, anchor_strength: float
) -> Callable[[SegmentInputs, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """(inputs, number of the batch) -> per-pixel losses and number of the sampled rows."""
    forward = _split_at_code(model) if anchor_strength else lambda inputs: [model(inputs)]
    variables = model.trainable_variables

    def take_step(inputs: SegmentInputs, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, rows, scale, centre, rates, anchor_codes = inputs
        pixels = images.shape[1]
        targets = normalize(tf.slice(images, [index * size, 0], [size, pixels]), scale)
        count = tf.minimum(rows - index * size, size)
        weights = tf.cast(tf.range(size) < count, tf.float32)[:, tf.newaxis]  # (size, 1)
        mean_weights = weights / (tf.cast(count, tf.float32) * pixels)
        optimizer.learning_rate.assign(rates[index])

        def differentiate(logits: tf.Tensor, *codes: tf.Tensor) -> list[tf.Tensor]:
            gradients = [(tf.sigmoid(logits) - targets) * mean_weights]
            for code in codes:
                wanted = tf.slice(anchor_codes, [index * size, 0], code.shape)
                factor = 2 * anchor_strength * pixels / code.shape[1]
                gradients.append(_distance_to_anchor(code, wanted) * factor * mean_weights)
            return gradients

        logits = _descend(forward, variables, optimizer, targets - centre, differentiate)
        sampled, sampled_rows = tf.cond(
            index % LOSS_EVERY == 0,
            lambda: (tf.reduce_sum(cross_entropy(targets, logits) * weights[:, 0]), count),
            lambda: (tf.constant(0.0), tf.constant(0)),
        )
        return sampled / pixels, sampled_rows

    return take_step


def _descend(
    forward: Callable[[tf.Tensor], list[tf.Tensor]],
    variables: list[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
    inputs: tf.Tensor,
    differentiate: Callable[..., list[tf.Tensor]],
) -> tf.Tensor:
    """Take one optimizer step; return the logits before it, (rows, pixels).

    Args:
        forward: from the inputs to the logits, and what else the loss depends on.
        differentiate: the gradients of the loss with respect to them. The one of the mean
            cross-entropy with respect to the logits z of targets x is (sigmoid(z) - x) / count,
            which is written out so that the loss itself is not computed.
    """
    with tf.GradientTape() as tape:
        outputs = forward(inputs)
    gradients = tape.gradient(outputs, variables, output_gradients=differentiate(*outputs))
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outputs[0]


def _split_at_code(model: keras.Model) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """From the inputs of a model to its logits and its code; of a dense layer before its ReLU."""
    code = model.get_layer(CODE_LAYER)
    if not isinstance(code, keras.layers.Dense) or code.activation is not keras.activations.relu:
        return keras.Model(model.inputs, [model.output, code.output])
    features = keras.Model(model.input, code.input)
    decoder = keras.Model(code.output, model.output)

    def forward(inputs: tf.Tensor) -> list[tf.Tensor]:
        pre_activation = features(inputs) @ code.kernel + code.bias
        return [decoder(code.activation(pre_activation)), pre_activation]

    return forward


def _distance_to_anchor(code: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Code less the anchor's code, (rows, code_size); zero where both are, or without a code.

    A code before its ReLU may be any negative number where the anchor's code is zero. One that is
    negative where it should not be gets a gradient all the same, so no unit stays dead.
    """
    counts = (wanted != NO_CODE) & ((code > 0) | (wanted > 0))
    return tf.where(counts, code - wanted, 0.0)


def compile_codes(encoder: keras.Model) -> Callable[..., tf.Tensor]:
    """Compile: (block of images, scale) -> codes, (rows of the block, code_size) float32."""
    shape = _block_shape(encoder)

    @tf.function(jit_compile=True, autograph=False)
    def encode_block(images: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        return encoder(normalize(tf.ensure_shape(images, shape), scale))

    return encode_block


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
    """Compile: (block of images, scale) -> codes, reconstructions, losses, mean squared errors.

    Losses are means over each image's pixels too.
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
