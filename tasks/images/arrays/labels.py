"""Labels as people store them, as classes: whole numbers, or text with its names.

They may also be truth values, whole numbers stored as float, one-hot rows, or columns of a table.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images.arrays.stored import StoredArray, describe_shape
from tasks.images.arrays.views import ConvertedRows, reshape_rows
from tasks.images.faults import report_fault
from tasks.images.rows import Rows

logger = logging.getLogger(__name__)

MAX_TEXTS = 2**16
"""Most different texts of labels; more are no classes, and would take memory."""


class ClassLabels(NamedTuple):
    """The labels of both splits as whole numbers, (N,), with the names of the classes."""

    train: Rows | None
    test: Rows | None
    names: tuple[str, ...] = ()
    """By label; empty if the labels are numbers."""


def count_labels(array: StoredArray) -> int:
    """The number of labels: the length of the one axis that is longer than 1, or of the first."""
    longer = [length for length in array.shape if length != 1]
    return longer[0] if longer else 1


def open_labels(array: StoredArray) -> Rows:
    """Labels as (N,) or one-hot (N, classes): (N, 1), (1, N), (N, 1, 1, 1) and the like are (N,).

    Raises:
        StepError: they have another shape.
    """
    shape = array.shape
    longer = [axis for axis, length in enumerate(shape) if length != 1] or [0]
    if longer == [0] or longer == [len(shape) - 1]:
        rows = array.rows(last=longer[0] > 0)
        return reshape_rows(rows, ())
    if longer == [0, 1]:
        return reshape_rows(array.rows(), (shape[1],))
    raise StepError(
        f"{array.name} has shape {describe_shape(shape)}, expected one label for each image"
    )


def choose_column(labels: Rows, column: int, flag: str) -> Rows:
    """One column of labels with several, (N, columns), as (N,).

    Args:
        flag: with which the user chooses.
    """
    if len(labels.shape) == 1:
        return labels
    if column >= labels.shape[1]:
        raise StepError(
            f"{labels.name} has {labels.shape[1]} columns, counted from 0, expected one with the "
            f"number {column} as {flag} says"
        )
    return ConvertedRows(labels, (), labels.dtype, lambda block, _: block[:, column])


def read_classes(train: Rows | None, test: Rows | None) -> ClassLabels:
    """Convert the labels of both splits; text is read once more, for its names.

    Raises:
        StepError: they are no classes, or not of one kind. Values are checked when they are read.
    """
    given = [rows for rows in (train, test) if rows is not None]
    is_text = [rows.dtype.kind in "OSU" for rows in given]
    if not any(is_text):
        return ClassLabels(train and _to_numbers(train), test and _to_numbers(test))
    if not all(is_text):
        raise StepError(
            f"{given[0].name} and {given[1].name} are text and numbers: store both in one way"
        )
    names = _read_names(given[0])
    number: Callable[[str], int | None] = _parse
    expected = "a whole number as in the others"
    if any(_parse(name) is None for name in names):
        number = {name: position for position, name in enumerate(names)}.get
        expected = "the printable name of a class of the training images"
    else:
        names = ()
    convert = partial(_convert_texts, number=number, expected=expected)
    return ClassLabels(train and convert(train), test and convert(test), names)


def _to_numbers(rows: Rows) -> Rows:
    if len(rows.shape) == 2:
        return _decode_one_hot(rows)
    if rows.dtype.kind == "b":
        return ConvertedRows(rows, (), np.int64, lambda block, _: block.astype(np.int64))
    return _round_floats(rows) if rows.dtype.kind == "f" else rows


def _round_floats(rows: Rows) -> Rows:
    def convert(block: NDArray[Any], start: int) -> NDArray[Any]:
        values = block.astype(np.float64)
        whole = (np.trunc(values) == values) & (abs(values) < 2**53)  # false for NaN
        for row in np.flatnonzero(~whole):
            report_fault(
                f"{rows.row_name(start + int(row))} holds the class {block[row]}, expected a whole "
                "number"
            )
        return np.where(whole, values, 0).astype(np.int64)

    return ConvertedRows(rows, (), np.int64, convert)


def _decode_one_hot(rows: Rows) -> Rows:
    """(N, classes) with a single 1 in each row to (N,)."""
    if rows.dtype.kind not in "buif":
        raise StepError(f"{rows.name} holds {rows.dtype}, expected numbers, one-hot")

    def convert(block: NDArray[Any], start: int) -> NDArray[Any]:
        ones, zeros = block == 1, block == 0
        wrong = (ones.sum(1) != 1) | ~(ones | zeros).all(1)
        for row in np.flatnonzero(wrong):
            report_fault(
                f"{rows.row_name(start + int(row))} has {block.shape[1]} values and is not "
                "one-hot, a single 1 beside zeros: store one class for each image"
            )
        classes: NDArray[np.int64] = ones.argmax(1)
        return classes

    return ConvertedRows(rows, (), np.int64, convert)


def _decode(text: Any) -> str:
    """Printable text, or nothing."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else str(text)
    except UnicodeDecodeError:
        return ""
    return decoded if decoded.isprintable() else ""


def _read_names(rows: Rows) -> tuple[str, ...]:
    """All different texts, sorted; what is no printable text is reported when it is converted."""
    if len(rows.shape) != 1:
        raise StepError(f"{rows.name} holds rows of texts, expected one for each image")
    names: set[str] = set()
    for block in rows.blocks():
        names.update(filter(None, map(_decode, block.tolist())))
        if len(names) > MAX_TEXTS:
            raise StepError(
                f"{rows.name} holds more than {MAX_TEXTS} different texts, which are no classes: "
                "name other labels, or none"
            )
    logger.info("%s is text: its %d classes are in alphabetical order", rows.name, len(names))
    return tuple(sorted(names))


def _convert_texts(rows: Rows, number: Callable[[str], int | None], expected: str) -> Rows:
    def convert(block: NDArray[Any], start: int) -> NDArray[Any]:
        labels = np.zeros(len(block), np.int64)
        for row, text in enumerate(block.tolist()):
            label = number(_decode(text))
            if label is None:
                name = rows.row_name(start + row)
                report_fault(f"{name} holds the class {text!r}, expected {expected}")
            else:
                labels[row] = label
        return labels

    return ConvertedRows(rows, (), np.int64, convert)


def _parse(text: str) -> int | None:
    """A whole number that fits into int64; None if it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
