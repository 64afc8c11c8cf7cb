"""From a source to a verified dataset in the artifacts folder."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, Split
from tasks.images import fashion_mnist
from tasks.images.checks import check_counts
from tasks.images.digest import dataset_folder
from tasks.images.faults import Faults, collect_faults, faults_reported
from tasks.images.inspection import Inspection, describe_dataset, inspect
from tasks.images.rows import ChainedRows, LeftOut, RawDataset, RawSplit, describe_left_out
from tasks.images.sources import AnySource, FashionMnist
from tasks.images.store import store_dataset

logger = logging.getLogger(__name__)


def fetch_dataset(
    name: str,
    source: AnySource,
    root: Path,
    *,
    test_share: float,
    split_seed: int,
    class_names: tuple[str, ...] = (),
) -> DatasetRecord:
    """Get images for training and testing, stored as `datasets/<name>-<sha12>/`.

    The source is always read from end to end, so that changes in it are noticed.

    Args:
        test_share: share of the images to hold out, if the source has no test images.
        split_seed: random seed for choosing them.
        class_names: by label; empty for those of the source.

    Raises:
        StepError: the images cannot be used.
        TransientError: Fashion-MNIST is not available anywhere; the message has all reasons.
    """
    where, raw = _open(name, source, root)
    raw, _ = _with_test_images(raw, test_share, split_seed)
    return _store(name, where, raw.splits, class_names or raw.class_names, root)


class SourceReport(NamedTuple):
    """What was found in a source, as far as it could be read."""

    name: str
    source: str
    left_out: Mapping[LeftOut, int]
    held_out: bool
    """Whether the test images were drawn from the training images."""
    contents: Inspection
    faults: Faults
    """What a run would be refused for, and what it would warn of."""


def inspect_source(
    name: str,
    source: AnySource,
    root: Path,
    *,
    test_share: float,
    split_seed: int,
    class_names: tuple[str, ...] = (),
) -> SourceReport:
    """Read a source as `fetch_dataset` does, to report all that is in it; nothing is stored.

    Raises:
        TransientError: Fashion-MNIST is not available anywhere; the message has all reasons.
    """
    where, raw, held_out, contents = "", None, False, Inspection()
    with collect_faults() as faults, faults_reported():
        where, raw = _open(name, source, root)
        drawn, held_out = _with_test_images(raw, test_share, split_seed)
        contents = inspect(drawn.splits, class_names or raw.class_names, samples=True)
    left_out = raw.left_out if raw else {}
    return SourceReport(name, where, left_out, held_out, contents, faults)


def _with_test_images(raw: RawDataset, share: float, seed: int) -> tuple[RawDataset, bool]:
    """A source with test images, and whether they had to be drawn."""
    return (raw, False) if raw.test else (draw_test_images(raw, share, seed), True)


def fetch_images(
    name: str, source: AnySource, root: Path, class_names: tuple[str, ...] = ()
) -> DatasetRecord:
    """Get all images of a source as the split `all`, test images last.

    Raises:
        StepError, TransientError: as above.
    """
    where, raw = _open(name, source, root)
    return _store(name, where, {"all": join_splits(raw)}, class_names or raw.class_names, root)


def _store(
    name: str,
    where: str,
    splits: dict[Split, RawSplit],
    class_names: tuple[str, ...],
    root: Path,
) -> DatasetRecord:
    inspection = inspect(splits, class_names)
    return store_dataset(describe_dataset(name, where, inspection), inspection.arrays, root)


def _open(name: str, source: AnySource, root: Path) -> tuple[str, RawDataset]:
    """Open a source; return where it is, for the record, too."""
    if isinstance(source, FashionMnist):
        if name != fashion_mnist.NAME:
            raise StepError(
                f"The dataset {name} needs a source: name one with --source.picture-folder or the "
                "like"
            )
        return fashion_mnist.open_first_place(root / dataset_folder(name, fashion_mnist.PAYLOADS))
    raw = source.open()
    if raw.left_out:
        logger.warning("Left out: %s", describe_left_out(raw.left_out))
    if name == fashion_mnist.NAME:
        raw = fashion_mnist.check_published(raw)
    return source.text, check_counts(raw)


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
