"""The checks of images and labels, for all sources: number, shape, type and range.

What is wrong is reported with `report_fault`. Where faults are collected, a value that was reported
counts as 0, and an array that cannot be used is left out.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.classes import Classes, match_names
from tasks.images.faults import faults_reported, report_fault
from tasks.images.rows import ArrayRows, RawDataset, RawSplit, Rows, counted_blocks

MAX_IMAGE_VALUES = 2**20
"""Height times width times colours of the largest image: a layer has weights for each."""


class CheckedImages(Rows):
    """Images in the shape and type in which they are stored; values are checked when they are read.

    Args:
        largest: the largest value allowed, of a type that compares without overflow; the least
            is 0.
    """

    def __init__(self, rows: Rows, shape: tuple[int, ...], dtype: Any, largest: Any) -> None:
        super().__init__(rows.name, (len(rows), *shape), np.dtype(dtype))
        self._rows, self._largest = rows, largest

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All rows, in consecutive blocks; a value that is refused is named with its row."""
        start = 0
        for block in counted_blocks(self._rows):
            values = block.reshape(len(block), -1)
            wrong = ~((values >= 0) & (values <= self._largest))  # true for NaN
            if wrong.any():
                self._report(values, wrong, start)
                values = np.where(wrong, values.dtype.type(0), values)
            yield values.reshape(len(block), *self.shape[1:]).astype(self.dtype, copy=False)
            start += len(block)

    def _report(self, values: NDArray[Any], wrong: NDArray[np.bool_], start: int) -> None:
        """Report the first wrong value of each row."""
        for row in np.flatnonzero(wrong.any(axis=1)):
            report_fault(
                f"{self._rows.row_name(start + int(row))} holds the value "
                f"{values[row, wrong[row].argmax()]}, expected 0 to {self._largest:g}: "
                "store the images with values that are not negative and not missing"
            )


def checked_images(images: Rows) -> Rows:
    """Images as stored, (N, height, width[, 3]) uint8, uint16 or float32; one colour is grey.

    Raises:
        StepError: these are not images.
    """
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
    if not len(images):
        raise StepError(f"{images.name} holds no images: expected at least one")
    if images.dtype.kind == "f":
        return CheckedImages(images, shape, np.float32, np.finfo(np.float32).max)
    if images.dtype.kind not in "bui":
        raise StepError(f"{images.name} holds values of type {images.dtype}, expected numbers")
    dtype = np.uint8 if images.dtype.itemsize == 1 else np.uint16
    return CheckedImages(images, shape, dtype, np.iinfo(dtype).max)


def check_counts(raw: RawDataset) -> RawDataset:
    """Check that each split has as many labels as images, before anything is selected or joined.

    Raises:
        StepError: its rows have no values: a file of a few bytes may say that it has billions.

    Returns:
        the dataset, where faults are collected without labels that do not belong to the images.
    """
    train = _check_count(raw.train)
    return raw._replace(train=train, test=raw.test and _check_count(raw.test))


def _check_count(split: RawSplit) -> RawSplit:
    images, labels = split.images, split.labels
    for rows in (images, labels):
        if rows is not None and not math.prod(rows.shape[1:]):
            raise StepError(
                f"{rows.name} has {rows.shape[0]} rows of shape {rows.shape[1:]}, without values: "
                "is it damaged?"
            )
    if labels is None or len(labels) == len(images):
        return split
    report_fault(
        f"{images.name} holds {len(images)} images and {labels.name} {len(labels)} labels: "
        "expected one each. Name the labels that belong to these images, or none"
    )
    return split._replace(labels=None)


class CheckedArrays(NamedTuple):
    """Everything of a dataset as it is stored."""

    arrays: dict[str, Rows]
    """`<split>_images` and, if any, `<split>_labels` and `<split>_index`."""
    classes: Classes


def check_arrays(splits: dict[Split, RawSplit], names: tuple[str, ...] = ()) -> CheckedArrays:
    """The arrays of a dataset as they are stored; labels are read, images are not.

    Args:
        names: of the classes, in the order of their labels; empty: their numbers.

    Raises:
        StepError: these are not images or not classes, or they do not match each other.
    """
    arrays: dict[str, Rows] = {}
    for split, raw in splits.items():
        with faults_reported():
            images = checked_images(raw.images)
            _check_alike(images, next(iter(arrays.values()), images))
            arrays[f"{split}_images"] = images
    labels = {split: raw.labels for split, raw in splits.items() if raw.labels}
    classes = match_names(labels, names)
    for split, values in classes.labels.items():
        arrays[f"{split}_labels"] = ArrayRows(labels[split].name, values)
    for split, raw in splits.items():
        if raw.source_rows is not None:
            arrays[f"{split}_index"] = ArrayRows("source_rows", raw.source_rows)
    return CheckedArrays(arrays, classes)


def _check_alike(images: Rows, first: Rows) -> None:
    for actual, expected in ((images.shape[1:], first.shape[1:]), (images.dtype, first.dtype)):
        if actual != expected:
            raise StepError(
                f"{images.name} holds images of {actual}, expected {expected} as in {first.name}"
            )
