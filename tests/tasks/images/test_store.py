import logging
from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import StepError, TransientError
from tasks.core.records import DatasetRecord, Split
from tasks.images.inspection import describe_dataset, inspect
from tasks.images.rows import ArrayRows, RawSplit
from tasks.images.store import (
    open_images,
    open_index,
    open_labels,
    representative_rows,
    store_dataset,
)
from tests.conftest import SAMPLE, sample_images
from tests.fetching import fetch

IMAGES = np.random.default_rng(20).integers(0, 256, (20, 3, 2), dtype=np.uint8)


def test_stores_the_arrays_for_memory_mapping(dataset: DatasetRecord, root: Path) -> None:
    train, test = sample_images()
    images, labels = open_images(dataset, "train", root), open_labels(dataset, "test", root)
    assert isinstance(images, np.memmap)
    assert np.array_equal(images, train)
    assert np.array_equal(open_images(dataset, "test", root), test)
    assert labels is not None
    assert (labels.shape, labels.dtype.name) == ((128,), "uint8")
    assert set(labels) == set(range(10))
    assert (dataset.image_shape, dataset.scale) == ((28, 28), 255.0)
    assert (dataset.dtype, dataset.rows) == ("uint8", {"train": 512, "test": 128})


def test_the_index_of_given_test_images_counts_them(dataset: DatasetRecord, root: Path) -> None:
    assert np.array_equal(open_index(dataset, "test", root), np.arange(128))


@pytest.mark.parametrize("file", ["train.npy", "test_labels.npy", "dataset.json"])
def test_a_damaged_copy_is_written_again(
    dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    path = root / dataset.folder / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with caplog.at_level(logging.WARNING):
        fetch(SAMPLE, root)
    assert "is damaged and written again" in caplog.text
    assert path.read_bytes() == whole


def test_a_flipped_bit_is_noticed(dataset: DatasetRecord, root: Path) -> None:
    path = root / dataset.folder / "train.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    fetch(SAMPLE, root)
    assert path.read_bytes() == whole


def test_images_that_change_while_they_are_read_are_noticed(root: Path) -> None:
    images = IMAGES.copy()
    splits: dict[Split, RawSplit] = {"all": RawSplit(ArrayRows("mine.npy", images))}
    inspection = inspect(splits)
    images[7, 1, 1] ^= 1
    with pytest.raises(TransientError, match="mine.npy changed while it was read"):
        store_dataset(describe_dataset("mine", "test", inspection), inspection.arrays, root)
    assert not list(root.glob("datasets/[!.]*"))


@pytest.mark.parametrize("rows", [19, 21])
def test_what_is_written_is_counted(root: Path, rows: int) -> None:
    """Version 0.1.0 stored a damaged dataset as verified."""
    inspection = inspect({"all": RawSplit(ArrayRows("mine.npy", IMAGES))})
    record = describe_dataset("mine", "test", inspection)
    images = ArrayRows("mine.npy", np.resize(IMAGES, (rows, 3, 2)))
    images.shape = IMAGES.shape
    with pytest.raises(StepError, match=rf"mine.npy gave .*{rows} rows.*, expected 20"):
        store_dataset(record, {"all_images": images}, root)
    assert not list(root.glob("datasets/[!.]*"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1] * 10, [0, 1, 2, 3]),
        ([0] * 10 + [1] * 10, [0, 5, 10, 15]),
        (None, [0, 5, 10, 15]),
    ],
    ids=["mixed", "sorted", "unlabelled"],
)
def test_representative_images_are_of_all_classes(
    labels: list[int] | None, expected: list[int], root: Path
) -> None:
    rows = ArrayRows("labels", np.array(labels)) if labels else None
    splits: dict[Split, RawSplit] = {"train": RawSplit(ArrayRows("images", IMAGES), rows)}
    inspection = inspect(splits)
    described = describe_dataset("mine", "test", inspection)
    record = store_dataset(described, inspection.arrays, root)
    assert representative_rows(record, "train", 4, root).tolist() == expected
