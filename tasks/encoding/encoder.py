"""A trained autoencoder over images, in bounded memory and one fixed batch shape."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import keras, tf
from tasks.core.records import DatasetRecord, Split
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.images.rows import Images, evaluation_rows
from tasks.images.store import open_images, open_index, open_labels
from tasks.models.batches import Block, blocks_in_order, map_ahead
from tasks.models.compiled import compile_autoencoder, compile_encoder
from tasks.models.store import AUTOENCODER_FILE, ModelRecord


class Reconstructed(NamedTuple):
    """What an autoencoder makes of consecutive images."""

    codes: NDArray[np.float32]
    """(rows, code_size), not negative."""
    reconstructions: NDArray[np.float32]
    """(rows, pixels) in 0..1."""
    losses: NDArray[np.float32]
    """(rows,) mean binary cross-entropy over the image's pixels, in nats."""
    mean_squared_errors: NDArray[np.float32]
    """(rows,) over the image's pixels, on the 0..1 scale."""


THREADS = min(8, os.cpu_count() or 1)
"""Blocks that are worked on at once: XLA spreads a product over the cores, but little else."""
Encoder = Callable[[Images, float], Iterator[CodesBlock]]
Autoencoder = Callable[[Images, float], Iterator[Reconstructed]]


_loading = threading.Lock()
"""Steps that run side by side need the same model: loading and compiling it takes a second."""


def load_encoder(record: ModelRecord, root: Path) -> Encoder:
    """Load a stored model, once in a process, as a function from images to codes.

    Returns:
        (images (N, height, width[, 3]), scale) -> blocks in the images' order. The bits of a row
        do not depend on the rows beside it.
    """
    with _loading:
        return _load_encoder(record, root)


@lru_cache(maxsize=8)
def _load_encoder(record: ModelRecord, root: Path) -> Encoder:
    run_block = compile_encoder(_load(record, root))
    return lambda images, scale: starmap(CodesBlock, _run_blocks(run_block, images, scale))


@lru_cache(maxsize=8)
def load_autoencoder(record: ModelRecord, root: Path) -> Autoencoder:
    """Load a stored model as a function from images to their reconstructions, as above."""
    run_block = compile_autoencoder(_load(record, root))
    return lambda images, scale: starmap(Reconstructed, _run_blocks(run_block, images, scale))


def _load(record: ModelRecord, root: Path) -> keras.Model:
    return keras.saving.load_model(root / record.folder / AUTOENCODER_FILE)


def _run_blocks(
    compiled: tf.types.experimental.PolymorphicFunction, images: Images, scale: float
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    scale_tensor = tf.constant(scale, tf.float32)
    image = images[0]
    block_shape = evaluation_rows(image.size), image.size
    # Traced once: called as it is, it would be traced by every thread that comes first.
    run_block = compiled.get_concrete_function(
        tf.TensorSpec(block_shape, image.dtype), scale_tensor
    )

    def run(block: Block) -> tuple[NDArray[np.float32], ...]:
        outputs = run_block(block.images, scale_tensor)
        return tuple(output.numpy()[: block.rows] for output in outputs)

    return map_ahead(run, blocks_in_order(images), THREADS)


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
        ModelCodes(record, load_encoder(record, root)(images, dataset.scale)) for record in models
    ]
    index, labels = open_index(dataset, split, root), open_labels(dataset, split, root)
    write_codes(path, split, dataset, index, labels, encoded)


def reconstruct_rows(autoencoder: Autoencoder, images: Images, scale: float) -> Reconstructed:
    """Encode and decode a few images."""
    blocks = autoencoder(images, scale)
    return Reconstructed(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
