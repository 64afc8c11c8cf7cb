"""What the arrays of a source hold: read once, in order, and refused where they cannot be used."""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Sha256, Split
from tasks.images.formats.idx import IdxDigest
from tasks.images.rows import Rows
from tasks.images.sources import RawSplit

MAX_IMAGE_VALUES = 2**20
"""Height times width times colours of the largest image: a layer has weights for each."""
MAX_CLASSES = 1000
COLOURS = 3


class Facts(NamedTuple):
    """What a dataset holds."""

    payloads: dict[str, Sha256]
    """SHA-256 of each array, `<split>_images` and `<split>_labels`."""
    image_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """That the images are stored in."""
    maxima: dict[Split, float]
    """The largest pixel value of each split."""
    constant: dict[Split, bool]
    """Whether all images of a split are the same."""
    duplicates: int
    """Images of the split `test` that stand in the split `train` too."""


def inspect(splits: dict[Split, RawSplit]) -> Facts:
    """Read everything once.

    Memory grows with the test images alone, by eight bytes for each.

    Raises:
        StepError: what was found, in which file and row, and what was expected.
    """
    first = next(iter(splits.values())).images
    for split in splits.values():
        _check_alike(split, first)
    known = _RowDigests()
    payloads, maxima, constant = {}, {}, {}
    for name in sorted(splits):  # the test images before the training images, which are many
        found = _inspect_images(splits[name].images, known if len(splits) > 1 else None)
        payloads[f"{name}_images"] = found.sha256
        maxima[name], constant[name] = found.maximum, found.constant
        if labels := splits[name].labels:
            payloads[f"{name}_labels"] = _digest_labels(labels)
    return Facts(
        payloads, image_shape(first), stored_type(first), maxima, constant, known.duplicates
    )


def image_shape(rows: Rows) -> tuple[int, ...]:
    """Height, width and, in colour, 3; a single colour is grey.

    Raises:
        StepError: these are no images.
    """
    shape = rows.shape[1:]
    if len(shape) == 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not (len(shape) == 2 or (len(shape) == 3 and shape[-1] == COLOURS)):
        raise StepError(
            f"{rows.where} has shape {rows.shape}, expected N x height x width, or N x height x "
            "width x 3"
        )
    values = int(np.prod(shape))
    if not 1 <= values <= MAX_IMAGE_VALUES:
        raise StepError(
            f"{rows.where} has images of {values:,} values, expected 1 to {MAX_IMAGE_VALUES:,}: "
            "make them smaller"
        )
    return shape


def stored_type(rows: Rows) -> np.dtype[Any]:
    """What images are stored as: whole numbers in 8 or 16 bits without sign, others as float32.

    Raises:
        StepError: these are no numbers.
    """
    kind, size = rows.dtype.kind, rows.dtype.itemsize
    if kind in "bui":
        return np.dtype(np.uint8 if size == 1 else np.uint16)
    if kind == "f":
        return np.dtype(np.float32)
    raise StepError(f"{rows.where} holds values of type {rows.dtype}, expected numbers")


def sound_images(rows: Rows) -> Iterator[NDArray[Any]]:
    """The images, (rows, height, width[, 3]), as they are stored, block by block.

    Raises:
        StepError: a value that is not finite, negative or too large, with its file and row.
    """
    shape, dtype = image_shape(rows), stored_type(rows)
    largest = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    start = 0
    for block in rows.blocks():
        flat = block.reshape(len(block), -1)
        wrong = ~((flat >= 0) & (flat <= largest)).all(axis=1)  # also where a value is NaN
        if wrong.any():
            row = int(np.argmax(wrong))
            values = flat[row]
            value = values[~((values >= 0) & (values <= largest))][0]
            raise StepError(
                f"{rows.row_name(start + row)} holds the value {value}, expected 0 to {largest:g}"
            )
        yield block.reshape(len(block), *shape).astype(dtype, copy=False)
        start += len(block)


def sound_labels(rows: Rows) -> Iterator[NDArray[Any]]:
    """The classes, (rows,), block by block: unsigned bytes as such, others as int64.

    Raises:
        StepError: one is no class, with its file and row.
    """
    if rows.dtype.kind not in "ui" or rows.shape[1:] not in ((), (1,)):
        raise StepError(
            f"{rows.where} holds {rows.dtype} of shape {rows.shape}, expected one whole number, "
            "its class, for each image"
        )
    start = 0
    for block in rows.blocks():
        labels = block.reshape(len(block))
        wrong = (labels < 0) | (labels >= MAX_CLASSES)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise StepError(
                f"{rows.row_name(start + row)} is of class {labels[row]}, expected 0 to "
                f"{MAX_CLASSES - 1}"
            )
        yield labels.astype(label_type(rows), copy=False)
        start += len(block)


def label_type(rows: Rows) -> np.dtype[Any]:
    """What classes are stored as."""
    return np.dtype(np.uint8 if rows.dtype == np.uint8 else np.int64)


def _check_alike(split: RawSplit, first: Rows) -> None:
    """Check what can be known without reading the values."""
    images = split.images
    if not len(images):
        raise StepError(f"{images.where} holds no images: expected at least one")
    for found, expected in (
        (image_shape(images), image_shape(first)),
        (stored_type(images), stored_type(first)),
    ):
        if found != expected:
            raise StepError(
                f"{images.where} holds images of {found}, expected {expected} as in {first.where}"
            )
    if split.labels is not None and len(split.labels) != len(images):
        raise StepError(
            f"{images.where} holds {len(images)} images and {split.labels.where} "
            f"{len(split.labels)} labels: expected one each"
        )


class _Found(NamedTuple):
    sha256: Sha256
    maximum: float
    constant: bool


def _inspect_images(rows: Rows, known: "_RowDigests | None") -> _Found:
    digest = IdxDigest((len(rows), *image_shape(rows)), stored_type(rows))
    first, maximum, constant = None, 0.0, True
    for block in sound_images(rows):
        first = block[0] if first is None else first
        digest.update(block)
        maximum = max(maximum, float(block.max()))
        constant = constant and bool((block == first).all())
        if known is not None:
            known.take(block)
    if known is not None:
        known.next_split()
    return _Found(digest.hexdigest(), maximum, constant)


def _digest_labels(rows: Rows) -> Sha256:
    digest = IdxDigest((len(rows),), label_type(rows))
    for block in sound_labels(rows):
        digest.update(block)
    return digest.hexdigest()


class _RowDigests:
    """Eight bytes for each image of the first split, to find them among those of the second.

    With a million test and ten million training images, one false find is less likely than one in
    a million.
    """

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint64]] = []
        self._first: NDArray[np.uint64] | None = None
        self._seen: NDArray[np.bool_] = np.zeros(0, bool)

    def take(self, block: NDArray[Any]) -> None:
        digests = np.fromiter(
            (
                int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest())
                for row in block
            ),
            np.uint64,
            len(block),
        )
        if self._first is None:
            self._parts.append(digests)
        else:
            self._seen |= np.isin(self._first, digests)

    def next_split(self) -> None:
        if self._first is None:
            self._first = np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint64)
            self._seen = np.zeros(len(self._first), bool)

    @property
    def duplicates(self) -> int:
        return int(self._seen.sum())
