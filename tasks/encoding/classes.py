"""Labels of images to encode, as labels of the encoder's classes: classes are matched by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.images.classes import MAX_LABEL

Relabelling = Mapping[int, int]
"""From the label of each class that gets another one to that label."""
SHOWN = 5
"""Most classes that a message names."""


def match_classes(
    images: DatasetRecord, labels: NDArray[Any] | None, run: str, training_set: DatasetRecord
) -> tuple[Relabelling, tuple[str, ...]]:
    """Match the classes of images with those of the encoder, by name.

    Images without names of classes have numbers in their place; such a number counts into the
    names of the encoder's classes. An encoder that was trained without labels knows no classes:
    the images keep theirs.

    Args:
        labels: (N,) of the images; none if they have none.
        run: name of the run that trained the encoder, for messages.
        training_set: what it was trained on.

    Returns:
        The labels that change, and the names of the classes of all labels then.

    Raises:
        StepError: an image is of a class that the encoder does not know.
    """
    known = training_set.class_names
    if labels is None or "train_labels" not in training_set.payloads:
        return {}, images.class_names
    present = [int(label) for label in np.unique(labels)]
    found = {label: _find(label, images.class_name(label), known) for label in present}
    if unknown := [images.class_name(label) for label in present if found[label] is None]:
        raise StepError(
            f"{images.name} has images of {_list(unknown)}, which the encoders of run {run} do not "
            f"know: they know {_list(known)}. Rename what is the same, leave out what is not"
        )
    changed = {old: new for old, new in found.items() if new is not None and new != old}
    return changed, known or images.class_names


def _find(label: int, name: str, known: tuple[str, ...]) -> int | None:
    """The label that the encoder has for a class; none if it does not know it."""
    if known[label : label + 1] == (name,):
        return label
    if name in known:
        return known.index(name)
    # Version 0.1.0 did not record how many classes without names there were.
    is_number = name == str(label) and (label < len(known) or not known)
    return label if is_number else None


def _list(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def relabel(labels: NDArray[Any] | None, changed: Relabelling) -> NDArray[Any] | None:
    """The labels (N,) with those that change changed; a copy of two bytes each, if any change."""
    if labels is None or not changed:
        return labels
    table = np.arange(MAX_LABEL + 1, dtype=np.uint16)
    table[list(changed)] = list(changed.values())
    changed_labels: NDArray[np.uint16] = table[labels]
    return changed_labels
