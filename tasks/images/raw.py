"""Images and labels as their source has them; `inspection` checks them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.rows import ChainedRows, Rows


class RawSplit(NamedTuple):
    """Images, with their labels if the source has any."""

    images: Rows
    """(N, ...), of any type."""
    labels: Rows | None = None
    source_rows: NDArray[np.int64] | None = None
    """(N,) their rows in the source, increasing; None if these are all."""


class RawDataset(NamedTuple):
    """The contents of a source."""

    train: RawSplit
    test: RawSplit | None = None
    """None if the source does not separate test images."""
    class_names: tuple[str, ...] = ()
    """By label; empty if the source does not name them."""

    @property
    def splits(self) -> dict[Split, RawSplit]:
        """The training images, and the test images if they are separate."""
        splits: dict[Split, RawSplit] = {"train": self.train}
        if self.test:
            splits["test"] = self.test
        return splits


def draw_test_images(raw: RawDataset, share: float, seed: int) -> RawDataset:
    """Draw a share of the training images for testing, at least one; both keep their order.

    Raises:
        StepError: fewer than two are left for training.
    """
    images = raw.train.images
    count = max(1, round(share * len(images)))
    if len(images) - count < 2:
        raise StepError(
            f"{images.name} holds {len(images)} images, too few to hold out {share:.0%} for "
            "testing and train on the others"
        )
    for_testing = np.zeros(len(images), bool)
    for_testing[np.random.default_rng(seed).permutation(len(images))[:count]] = True
    return raw._replace(
        train=_select(raw.train, ~for_testing), test=_select(raw.train, for_testing)
    )


def _select(split: RawSplit, wanted: NDArray[np.bool_]) -> RawSplit:
    return RawSplit(
        images=split.images.select(wanted),
        labels=split.labels.select(wanted) if split.labels else None,
        source_rows=np.flatnonzero(wanted),
    )


def join_splits(raw: RawDataset) -> RawSplit:
    """All images of a source, test images last; without labels if a split has none."""
    if raw.test is None:
        return raw.train
    labels = [split.labels for split in (raw.train, raw.test) if split.labels]
    return RawSplit(
        images=ChainedRows([raw.train.images, raw.test.images]),
        labels=ChainedRows(labels) if len(labels) == 2 else None,
    )
