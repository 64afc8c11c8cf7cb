"""A trained autoencoder over images, in bounded memory and one fixed batch shape."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.batches import Images, blocks_in_order
from tasks.codes import CodesBlock, ModelCodes, write_codes
from tasks.compiled import compile_encoder
from tasks.dataset import open_images, open_labels
from tasks.models import AUTOENCODER_FILE, ModelRecord
from tasks.records import DatasetRecord, Split


class EncodedBlock(NamedTuple):
    """What a model makes of consecutive images."""

    codes: NDArray[np.float32]
    """(rows, code_size), not negative."""
    reconstructions: NDArray[np.float32]
    """(rows, pixels) in 0..1."""
    losses: NDArray[np.float32]
    """(rows,) mean binary cross-entropy over the image's pixels, in nats."""
    mean_squared_errors: NDArray[np.float32]
    """(rows,) over the image's pixels, on the 0..1 scale."""


Encoder = Callable[[Images, float], Iterator[EncodedBlock]]


def load_encoder(record: ModelRecord, root: Path) -> Encoder:
    """Load a stored autoencoder as a function over images.

    Returns:
        (images (N, height, width) uint8, scale) -> blocks in the images' order. The bits of a row
        do not depend on the rows beside it.
    """
    run_block = compile_encoder(keras.saving.load_model(root / record.folder / AUTOENCODER_FILE))

    def encode(images: Images, scale: float) -> Iterator[EncodedBlock]:
        scale_tensor = tf.constant(scale, tf.float32)
        for block in blocks_in_order(images):
            outputs = run_block(block.images, scale_tensor)
            yield EncodedBlock(*(output.numpy()[: block.rows] for output in outputs))

    return encode


def encode_split(
    split: Split,
    dataset: DatasetRecord,
    models: list[ModelRecord],
    path: Path,
    root: Path,
) -> None:
    """Write the codes file of a split, from every model, in memory that does not grow with it."""
    images = open_images(dataset, split, root)
    encoded = [
        ModelCodes(record, _code_blocks(load_encoder(record, root)(images, dataset.scale)))
        for record in models
    ]
    write_codes(path, split, dataset, open_labels(dataset, split, root), encoded)


def _code_blocks(blocks: Iterator[EncodedBlock]) -> Iterator[CodesBlock]:
    for block in blocks:
        yield CodesBlock(block.codes, block.mean_squared_errors)


def encode_rows(encode: Encoder, images: Images, scale: float) -> EncodedBlock:
    """Encode a few images, at most one block of them."""
    return next(encode(images, scale))
