"""What an anchored model takes from its anchor: its first weights and the codes to stay near to."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.backend import keras, tf
from tasks.core.errors import StepError
from tasks.core.storage import PARTIAL_PREFIX, write_errors_explained
from tasks.images.rows import Images
from tasks.models.batches import Codes, evaluation_blocks
from tasks.models.compiled import compile_codes
from tasks.models.spec import Anchor
from tasks.models.store import weights_sha256

CODES_FILE = f"{PARTIAL_PREFIX}anchor-codes.npy"
"""Beside the checkpoints, which are deleted with it; one of a killed training is written again."""


class AnchorValues(NamedTuple):
    """What a training needs of its anchor."""

    weights: list[NDArray[np.float32]]
    """Of the encoder, in Keras's order; it takes normalized images as they are."""
    codes: Codes
    """(N, code_size), of the training images."""


def load_anchor(anchor: Anchor, file: Path, images: Images) -> keras.Model:
    """The encoder of an anchor, verified.

    Args:
        file: the stored encoder.

    Raises:
        StepError: the file holds another encoder, or one of images of another size.
    """
    try:
        encoder = keras.saving.load_model(file)
    except (OSError, ValueError) as error:
        raise StepError(f"The anchor {file} cannot be read ({error}): add --new-basis") from None
    if (found := weights_sha256(encoder)) != anchor.basis:
        raise StepError(
            f"The anchor {file} has weights {found[:12]}, expected {anchor.basis[:12]}: restore "
            "the file, or add --new-basis"
        )
    pixels = encoder.inputs[0].shape[1]
    if pixels != images[0].size:
        raise StepError(
            f"The anchor encodes images of {pixels} values, these have {images[0].size}: add "
            "--new-basis"
        )
    return encoder


def encode_with_anchor(
    encoder: keras.Model, scale: float, images: Images, rows: NDArray[np.int64]
) -> Iterator[Codes]:
    """The codes of some images, block by block.

    Args:
        encoder: of the anchor.
        scale: the pixel value that becomes 1.0 for this encoder.
    """
    encode, divisor = compile_codes(encoder), tf.constant(scale, tf.float32)
    for block in evaluation_blocks(images, rows):
        yield encode(block.images, divisor).numpy()[: block.rows]


def write_anchor_codes(encoder: keras.Model, scale: float, images: Images, path: Path) -> Codes:
    """Encode all images to an `.npy` file; the arguments are as above.

    Returns:
        The codes, (N, code_size) float32, memory-mapped.
    """
    shape = len(images), encoder.outputs[0].shape[1]
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    # Written as a file: on a full disk, a write into a memory map would end the process.
    with write_errors_explained(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in encode_with_anchor(encoder, scale, images, np.arange(len(images))):
            file.write(block.data)
    codes: Codes = np.load(path, mmap_mode="r")
    return codes
