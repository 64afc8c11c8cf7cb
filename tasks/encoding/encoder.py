"""Encode and reconstruct images with a trained autoencoder, in bounded memory.

Every block has the same padded shape, as the bits of a result depend on the shape.
"""

import threading
from collections.abc import Iterator
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import keras, tf
from tasks.core.cores import usable_cores
from tasks.core.records import DatasetRecord, Split
from tasks.encoding.classes import Relabelling, relabel
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.images.rows import Images, evaluation_rows
from tasks.images.store import open_images, open_index, open_labels
from tasks.models.architectures import CODE_LAYER
from tasks.models.batches import Block, blocks_in_order, map_ahead
from tasks.models.compiled import compile_autoencoder, compile_encoder
from tasks.models.store import AUTOENCODER_FILE, ModelRecord

THREADS = min(8, usable_cores())
"""Blocks computed at once: XLA uses all cores for a matrix product, but for little else."""
CACHED_MODELS = 8


class Reconstructed(NamedTuple):
    """The outputs of an autoencoder for consecutive images."""

    codes: NDArray[np.float32]
    """(rows, code_size), not negative."""
    reconstructions: NDArray[np.float32]
    """(rows, pixels) in 0..1."""
    losses: NDArray[np.float32]
    """(rows,) mean binary cross-entropy over the image's pixels, in nats."""
    mean_squared_errors: NDArray[np.float32]
    """(rows,) over the image's pixels, on the 0..1 scale."""


class Autoencoder:
    """A trained model, compiled. The bits of a row do not depend on the rows beside it."""

    def __init__(self, model: keras.Model) -> None:
        """Compile a model; XLA itself runs at the first call, for each type of image."""
        self._encode, self._reconstruct = compile_encoder(model), compile_autoencoder(model)
        self._decoder = keras.Model(model.get_layer(CODE_LAYER).output, model.output)

    def encode(self, images: Images, scale: float) -> Iterator[CodesBlock]:
        """Codes and errors of images (N, height, width[, 3]), in their order.

        Args:
            scale: the pixel value that becomes 1.0.
        """
        return starmap(CodesBlock, _map_blocks(self._encode, images, scale))

    def reconstruct(self, images: Images, scale: float) -> Iterator[Reconstructed]:
        """Codes, reconstructions and errors of the images, as above."""
        return starmap(Reconstructed, _map_blocks(self._reconstruct, images, scale))

    def decode(self, codes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reconstructions (N, pixels) in 0..1 of a few codes (N, code_size)."""
        return np.asarray(self._decoder(codes), np.float32)


_loading = threading.Lock()
"""Held while loading: steps that run side by side need the same model."""


def load_autoencoder(record: ModelRecord, root: Path) -> Autoencoder:
    """Load a stored model, once in a process; the last few stay in memory."""
    with _loading:
        return _load(record, root)


@lru_cache(CACHED_MODELS)
def _load(record: ModelRecord, root: Path) -> Autoencoder:
    return Autoencoder(keras.saving.load_model(root / record.folder / AUTOENCODER_FILE))


def _map_blocks(
    compiled: tf.types.experimental.PolymorphicFunction, images: Images, scale: float
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    scale_tensor = tf.constant(scale, tf.float32)
    pixels = images[0].size
    # Traced once, here: otherwise every thread that calls it first would trace it again.
    run_block = compiled.get_concrete_function(
        tf.TensorSpec((evaluation_rows(pixels), pixels), images.dtype), scale_tensor
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
    rows: slice = slice(None),
    relabelled: Relabelling = MappingProxyType({}),
) -> None:
    """Write the codes of a split, or of some of its rows, in memory that does not grow with them.

    Args:
        models: those whose codes the file is to have, in order.
        relabelled: labels that are to change.
    """
    images = open_images(dataset, split, root)[rows]
    index, labels = open_index(dataset, split, root)[rows], open_labels(dataset, split, root)
    encoded = [
        ModelCodes(record, load_autoencoder(record, root).encode(images, dataset.scale))
        for record in models
    ]
    chosen = None if labels is None else relabel(labels[rows], relabelled)
    write_codes(path, split, dataset, index, chosen, encoded)


def reconstruct_rows(autoencoder: Autoencoder, images: Images, scale: float) -> Reconstructed:
    """Reconstruct a few images, in memory."""
    blocks = autoencoder.reconstruct(images, scale)
    return Reconstructed(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
