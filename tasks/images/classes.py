"""Labels as indices into the names of the classes: their range, and whom each of them names."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.faults import faults_reported, report_fault, report_note
from tasks.images.rows import Rows, counted_blocks

MAX_LABEL = 10_000
"""Greater labels are probably no classes but numbers of images."""
SHOWN = 10
"""Most classes that a message names."""
Labels = NDArray[Any]
"""(N,) uint8 or int64; -1 for a label that was reported as a fault."""


class Classes(NamedTuple):
    """The classes of a dataset."""

    names: tuple[str, ...] = ()
    """By label."""
    labels: Mapping[Split, Labels] = MappingProxyType({})
    """Of each split that has any, counted from 0 into the names."""
    counts: Mapping[Split, NDArray[np.int64]] = MappingProxyType({})
    """Images of each class, (classes,), of each of these splits."""


def match_names(sources: dict[Split, Rows], names: tuple[str, ...]) -> Classes:
    """Read labels, and count them from 0 into the names of their classes.

    Labels from 1 to the number of names, all of which occur, belong to the names in order. In all
    other cases, the first name is that of label 0. Without names, a class is named by its number.

    Raises:
        StepError: these are no classes, or some have no name although others do.
    """
    labels: dict[Split, Labels] = {}
    for split, rows in sources.items():
        with faults_reported():
            labels[split] = read_labels(rows)
    present = np.flatnonzero(sum(_count(values, MAX_LABEL + 1) for values in labels.values()))
    if names and np.array_equal(present, np.arange(1, len(names) + 1)):
        labels = {split: _less_one(values) for split, values in labels.items()}
        present -= 1
    where = " and ".join(rows.name for rows in sources.values())
    names = _complete(names, present, where)
    counts = {split: _count(values, len(names)) for split, values in labels.items()}
    return Classes(names, labels, counts)


def read_labels(rows: Rows) -> Labels:
    """Labels in memory: unsigned bytes as such, others as int64.

    Raises:
        StepError: they are not whole numbers from 0 to `MAX_LABEL`; names the row.
    """
    if rows.dtype.kind not in "ui" or rows.shape[1:] not in ((), (1,)):
        raise StepError(
            f"{rows.name} holds {rows.dtype} of shape {rows.shape}, expected one whole number, its "
            "class, for each image"
        )
    labels = np.empty(len(rows), np.uint8 if rows.dtype == np.uint8 else np.int64)
    start = 0
    for block in counted_blocks(rows):
        values = block.reshape(len(block))
        wrong = (values < 0) | (values > MAX_LABEL)
        for row in np.flatnonzero(wrong):
            report_fault(
                f"{rows.row_name(start + int(row))} holds the class {values[row]}, expected 0 to "
                f"{MAX_LABEL:,}: number the classes from 0, and leave out images that have none"
            )
        # Bytes are never wrong, so that they need not hold -1.
        labels[start : start + len(block)] = (
            np.where(wrong, -1, values.astype(np.int64)) if wrong.any() else values
        )
        start += len(block)
    return labels


def _count(labels: Labels, classes: int) -> NDArray[np.int64]:
    return np.bincount(labels[labels >= 0], minlength=classes)


def _less_one(labels: Labels) -> Labels:
    """Labels counted from 0; what was reported stays -1."""
    less: Labels = labels - (labels > 0)
    return less


def _complete(names: tuple[str, ...], present: NDArray[np.int64], where: str) -> tuple[str, ...]:
    """A name for each class.

    Args:
        present: labels that occur, increasing.
        where: they are.
    """
    if not len(present):
        return names
    classes = 1 + int(present[-1])
    if names and classes > len(names):
        report_fault(
            f"{where} has labels from {present[0]} to {present[-1]}, but there are {len(names)} "
            f"class names, which count from label 0: name {classes} classes"
        )
    names += tuple(map(str, range(len(names), classes)))
    known = set(present.tolist())
    if absent := [name for label, name in enumerate(names) if label not in known]:
        shown = ", ".join(absent[:SHOWN]) + (" ..." if len(absent) > SHOWN else "")
        report_note(
            f"{len(absent)} of the {len(names)} classes have no images ({shown}): {where} has "
            f"{len(present)} different labels from {present[0]} to {present[-1]}, and class names "
            "count from label 0"
        )
    return names
