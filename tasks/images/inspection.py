"""Everything of a source is read once: what it holds, and what cannot be used."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, ImageType, Sha256, Split
from tasks.images.checks import check_arrays
from tasks.images.classes import Classes
from tasks.images.digest import dataset_folder, payload_sha256, rows_sha256, start_digest
from tasks.images.faults import faults_reported, report_note
from tasks.images.rows import Images, RawSplit, Rows, spaced_rows

MOST_SAMPLES = 1000
"""Images that an inspection keeps to show them; each at most `SAMPLE_SIDE` high and wide."""
CLASS_SAMPLES = 10
"""Images of a class among them, at most."""
SAMPLE_SIDE = 64


class ImageFacts(NamedTuple):
    """What was found out about the images of a split."""

    sha256: Sha256
    least: float
    greatest: float
    digests: NDArray[np.uint64]
    """(N,) eight bytes of each image's digest; none where images are not compared.

    With a million test and ten million training images, one false match is less likely than one in
    a million.
    """
    samples: dict[int, Images]
    """By row; each (height, width[, 3]), of large images only some rows and columns."""


class Inspection(NamedTuple):
    """The contents of a source; where faults are collected, as far as they could be read."""

    arrays: Mapping[str, Rows] = MappingProxyType({})
    """As they are stored: `<split>_images` and, if any, `<split>_labels` and `<split>_index`."""
    classes: Classes = Classes()
    images: Mapping[Split, ImageFacts] = MappingProxyType({})
    duplicates: int = 0
    """Test images that are training images too."""


def inspect(
    splits: dict[Split, RawSplit], class_names: tuple[str, ...] = (), samples: bool = False
) -> Inspection:
    """Read everything; warn of test images that are training images too, or brighter.

    Memory grows by up to 16 bytes for each image: its label and, where there are splits to compare,
    its digest.

    Args:
        class_names: in the order of the labels; empty: the numbers of the classes.
        samples: whether to keep some images of each class.

    Raises:
        StepError: something cannot be used; names its file and row.
    """
    arrays, classes = check_arrays(splits, class_names)
    images: dict[Split, ImageFacts] = {}
    for split in splits:
        if rows := arrays.get(f"{split}_images"):
            wanted = _choose_samples(split, len(rows), classes) if samples else np.zeros(0, int)
            with faults_reported():
                images[split] = _inspect_images(rows, wanted, compared="train" in splits)
    duplicates = 0
    if "train" in images:
        with faults_reported():
            duplicates = _compare_splits(arrays, images)
    return Inspection(arrays, classes, images, duplicates)


def describe_dataset(name: str, source: str, inspection: Inspection) -> DatasetRecord:
    """The record of a dataset without faults.

    Args:
        source: where the images are read from.
    """
    arrays, facts = inspection.arrays, inspection.images
    rest = [part for part in arrays if not part.endswith("_images")]
    payloads = {f"{split}_images": facts[split].sha256 for split in sorted(facts)}
    payloads |= {part: rows_sha256(arrays[part]) for part in rest}
    images = {split: arrays[f"{split}_images"] for split in facts}
    training = next(iter(images))
    return DatasetRecord(
        name=name,
        folder=dataset_folder(name, payloads),
        source=source,
        payload_sha256=payload_sha256(payloads),
        payloads=payloads,
        image_shape=images[training].shape[1:],
        dtype=cast(ImageType, images[training].dtype.name),
        rows={split: len(rows) for split, rows in images.items()},
        scale=facts[training].greatest or 1.0,
        duplicates=inspection.duplicates,
        class_names=inspection.classes.names,
    )


def _choose_samples(split: Split, rows: int, classes: Classes) -> NDArray[np.int64]:
    """Rows of the images to show, increasing: the first ones of each class, or spaced ones."""
    if split not in classes.labels:
        return spaced_rows(rows, 4 * CLASS_SAMPLES)
    labels = classes.labels[split][:rows]
    each = max(1, min(CLASS_SAMPLES, MOST_SAMPLES // max(1, len(classes.names))))
    order = np.argsort(labels, kind="stable")  # by class, then by row
    ordered = labels[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)  # in its class
    return np.sort(order[(place < each) & (ordered >= 0)][:MOST_SAMPLES])


def _inspect_images(images: Rows, wanted: NDArray[np.int64], compared: bool) -> ImageFacts:
    digest = start_digest(images)
    least, greatest, digests = np.inf, 0.0, [np.zeros(0, np.uint64)]
    samples: dict[int, Images] = {}
    start = 0
    for block in images.blocks():
        digest.update(np.ascontiguousarray(block).data)
        least, greatest = min(least, float(block.min())), max(greatest, float(block.max()))
        if compared:
            each = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in block)
            digests.append(np.fromiter(map(int.from_bytes, each), np.uint64, len(block)))
        for row in wanted[(wanted >= start) & (wanted < start + len(block))]:
            samples[int(row)] = _shrink(block[row - start])
        start += len(block)
    return ImageFacts(digest.hexdigest(), least, greatest, np.concatenate(digests), samples)


def _shrink(image: Images) -> Images:
    """A copy with every n-th row and column, so that it fits into a sample."""
    step = -(-max(image.shape[:2]) // SAMPLE_SIDE)
    return image[::step, ::step].copy()


def _compare_splits(arrays: dict[str, Rows], facts: dict[Split, ImageFacts]) -> int:
    """Warn of brighter and of repeated test images; return how many are training images too.

    Raises:
        StepError: all training images are identical.
    """
    train, name = facts["train"], arrays["train_images"].name
    if (train.digests == train.digests[0]).all():
        raise StepError(
            f"{name} has no two different training images ({len(train.digests)} in all): there is "
            "nothing to learn"
        )
    if "test" not in facts:
        return 0
    test = facts["test"]
    if test.greatest > train.greatest:
        report_note(
            f"{arrays['test_images'].name} has values up to {test.greatest:g}, {name} up to "
            f"{train.greatest:g}: brighter values count as white"
        )
    duplicates = int(np.isin(test.digests, train.digests).sum())
    if duplicates:
        report_note(f"{duplicates} of the {len(test.digests)} test images are training images too")
    return duplicates
