"""The checks of images and labels: everything is read once, and what cannot be used is refused."""

import hashlib
import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, ImageType, Sha256, Split
from tasks.images.digest import dataset_folder, payload_sha256, rows_sha256, start_digest
from tasks.images.rows import ArrayRows, RawSplit, Rows

logger = logging.getLogger(__name__)

MAX_IMAGE_VALUES = 2**20
"""Height times width times colours of the largest image: a layer has weights for each."""
MAX_CLASSES = 1000


class CheckedRows(Rows):
    """Rows in the shape and type in which they are stored; each value is checked when it is read.

    Args:
        noun: what a value is, for messages.
        largest: the largest value allowed, of a type that compares without overflow; the least
            is 0.
    """

    def __init__(
        self, rows: Rows, shape: tuple[int, ...], dtype: Any, noun: str, largest: Any
    ) -> None:
        super().__init__(rows.name, (len(rows), *shape), np.dtype(dtype))
        self._rows, self._noun, self._largest = rows, noun, largest

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks; a value that is refused is named with its row."""
        start = 0
        for block in self._rows.blocks():
            values = block.reshape(len(block), -1)
            wrong = ~((values >= 0) & (values <= self._largest))  # true for NaN
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                raise StepError(
                    f"{self._rows.row_name(start + row)} holds the {self._noun} "
                    f"{values[row, column]}, expected 0 to {self._largest:g}"
                )
            yield block.reshape(len(block), *self.shape[1:]).astype(self.dtype, copy=False)
            start += len(block)


def checked_images(images: Rows) -> Rows:
    """Images as stored, (N, height, width[, 3]) uint8, uint16 or float32; one colour is grey."""
    shape = images.shape[1:]
    if len(shape) == 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 2 and not (len(shape) == 3 and shape[-1] == 3):
        raise StepError(
            f"{images.name} has rows of shape {images.shape[1:]}, expected height x width, or "
            "height x width x 3"
        )
    values = math.prod(shape)
    if not 1 <= values <= MAX_IMAGE_VALUES:
        raise StepError(
            f"{images.name} has images of {values:,} values, expected 1 to {MAX_IMAGE_VALUES:,}: "
            "make them smaller"
        )
    if images.dtype.kind == "f":
        return CheckedRows(images, shape, np.float32, "value", np.finfo(np.float32).max)
    if images.dtype.kind not in "bui":
        raise StepError(f"{images.name} holds values of type {images.dtype}, expected numbers")
    dtype = np.uint8 if images.dtype.itemsize == 1 else np.uint16
    return CheckedRows(images, shape, dtype, "value", np.iinfo(dtype).max)


def checked_labels(labels: Rows) -> Rows:
    """Classes as stored, (N,): unsigned bytes as such, others as int64."""
    if labels.dtype.kind not in "ui" or labels.shape[1:] not in ((), (1,)):
        raise StepError(
            f"{labels.name} holds {labels.dtype} of shape {labels.shape}, expected one whole "
            "number, its class, for each image"
        )
    dtype = np.uint8 if labels.dtype == np.uint8 else np.int64
    return CheckedRows(labels, (), dtype, "class", MAX_CLASSES - 1)


def checked_arrays(splits: dict[Split, RawSplit]) -> dict[str, Rows]:
    """The arrays of a dataset as stored: `<split>_images` and, if any, `_labels` and `_index`.

    Raises:
        StepError: these are not images or not classes, or they do not match each other.
    """
    arrays: dict[str, Rows] = {}
    first = checked_images(next(iter(splits.values())).images)
    for split, raw in splits.items():
        arrays[f"{split}_images"] = images = checked_images(raw.images)
        _check_alike(images, first)
        if raw.labels is not None:
            if len(raw.labels) != len(images):
                raise StepError(
                    f"{images.name} holds {len(images)} images and {raw.labels.name} "
                    f"{len(raw.labels)} labels: expected one each"
                )
            arrays[f"{split}_labels"] = checked_labels(raw.labels)
        if raw.source_rows is not None:
            arrays[f"{split}_index"] = ArrayRows("source_rows", raw.source_rows)
    return arrays


def _check_alike(images: Rows, first: Rows) -> None:
    if not len(images):
        raise StepError(f"{images.name} holds no images: expected at least one")
    for actual, expected in ((images.shape[1:], first.shape[1:]), (images.dtype, first.dtype)):
        if actual != expected:
            raise StepError(
                f"{images.name} holds images of {actual}, expected {expected} as in {first.name}"
            )


def inspect(
    name: str, source: str, splits: dict[Split, RawSplit], class_names: tuple[str, ...] = ()
) -> DatasetRecord:
    """Read everything once; warn of test images that are training images too, or brighter.

    Memory grows by eight bytes for each image, where there are splits to compare.

    Args:
        source: where the images are read from.
        class_names: by label; classes without a name are named by their number.

    Raises:
        StepError: something cannot be used; names its file and row.
    """
    arrays = checked_arrays(splits)
    images = {split: arrays.pop(f"{split}_images") for split in splits}
    compared = "train" in splits
    facts = {split: _inspect_images(rows, compared) for split, rows in images.items()}
    payloads = {f"{split}_images": facts[split].sha256 for split in sorted(splits)}
    payloads |= {part: rows_sha256(rows) for part, rows in arrays.items()}
    duplicates = _compare_splits(images, facts) if compared else 0
    labels = [rows for part, rows in arrays.items() if part.endswith("_labels")]
    training = next(iter(splits))
    return DatasetRecord(
        name=name,
        folder=dataset_folder(name, payloads),
        source=source,
        payload_sha256=payload_sha256(payloads),
        payloads=payloads,
        image_shape=images[training].shape[1:],
        dtype=cast(ImageType, images[training].dtype.name),
        rows={split: len(rows) for split, rows in images.items()},
        scale=facts[training].maximum or 1.0,
        duplicates=duplicates,
        class_names=_complete_names(class_names, labels),
    )


def _complete_names(names: tuple[str, ...], labels: list[Rows]) -> tuple[str, ...]:
    """A name for each class, so that labels count into them."""
    classes = max((1 + int(block.max()) for rows in labels for block in rows.blocks()), default=0)
    return names + tuple(map(str, range(len(names), classes)))


class _ImageFacts(NamedTuple):
    sha256: Sha256
    maximum: float
    """The largest value."""
    digests: NDArray[np.uint64]
    """(N,) eight bytes of each image's digest; none where images are not compared.

    With a million test and ten million training images, one false match is less likely than one in
    a million.
    """


def _inspect_images(images: Rows, compared: bool) -> _ImageFacts:
    digest = start_digest(images)
    maximum, digests = 0.0, [np.zeros(0, np.uint64)]
    for block in images.blocks():
        digest.update(np.ascontiguousarray(block).data)
        maximum = max(maximum, float(block.max()))
        if compared:
            each = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in block)
            digests.append(np.fromiter(map(int.from_bytes, each), np.uint64, len(block)))
    return _ImageFacts(digest.hexdigest(), maximum, np.concatenate(digests))


def _compare_splits(images: dict[Split, Rows], facts: dict[Split, _ImageFacts]) -> int:
    """Warn of brighter and of repeated test images; return how many are training images too.

    Raises:
        StepError: all training images are identical.
    """
    train = facts["train"]
    if (train.digests == train.digests[0]).all():
        raise StepError(
            f"{images['train'].name} has no two different training images "
            f"({len(images['train'])} in all): there is nothing to learn"
        )
    if "test" not in facts:
        return 0
    test = facts["test"]
    if test.maximum > train.maximum:
        logger.warning(
            "%s has values up to %g, %s up to %g: brighter values count as white",
            *(images["test"].name, test.maximum, images["train"].name, train.maximum),
        )
    duplicates = int(np.isin(test.digests, train.digests).sum())
    if duplicates:
        logger.warning(
            "%d of the %d test images are training images too", duplicates, len(images["test"])
        )
    return duplicates
