from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.checks import check_arrays, check_counts, checked_images
from tasks.images.faults import collect_faults
from tasks.images.rows import ArrayRows, RawDataset, RawSplit, Rows

IMAGES = np.arange(120, dtype=np.uint8).reshape(10, 3, 4)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 40)


def held(array: NDArray[Any]) -> ArrayRows:
    return ArrayRows("mine.npy", array)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("?", "uint8"),
        ("u1", "uint8"),
        ("i1", "uint8"),
        ("u2", "uint16"),
        (">i2", "uint16"),
        ("i8", "uint16"),
        ("f2", "float32"),
        ("f8", "float32"),
    ],
)
def test_images_are_stored_in_few_types(dtype: str, stored: str) -> None:
    images = checked_images(held((IMAGES > 60).astype(dtype)))
    assert images.dtype == stored
    assert {block.dtype.name for block in images.blocks()} == {stored}
    assert np.array_equal(images.read(), IMAGES > 60)


@pytest.mark.parametrize("dtype", ["U3", "c8", "O", "V4"])
def test_what_is_no_number_is_refused(dtype: str) -> None:
    with pytest.raises(StepError, match=r"mine\.npy holds values of type .*, expected numbers"):
        checked_images(held(np.empty((2, 3, 4), dtype)))


def test_a_single_colour_is_grey() -> None:
    images = checked_images(held(IMAGES[..., np.newaxis]))
    assert images.shape == (10, 3, 4)
    assert np.array_equal(images.read(), IMAGES)


@pytest.mark.parametrize(
    ("dtype", "value", "shown"),
    [
        ("f4", np.nan, "nan"),
        ("f8", np.inf, "inf"),
        ("f8", 1e300, r"1e\+300"),
        ("f4", -0.5, "-0.5"),
        ("i4", -1, "-1"),
        ("i4", 65536, "65536"),
        ("i1", -128, "-128"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_row(
    dtype: str, value: float, shown: str
) -> None:
    images = IMAGES.astype(dtype)
    images[7, 2, 1] = value
    with pytest.raises(StepError, match=rf"row 7 of mine\.npy holds the value {shown}, expected"):
        checked_images(held(images)).read()


def test_where_faults_are_collected_each_row_with_a_wrong_value_is_one() -> None:
    images = IMAGES.astype(np.int16)
    images[[2, 7], 2, 1:3] = -5
    with collect_faults() as faults:
        read = checked_images(held(images)).read()
    assert faults.count == 2
    assert "row 7 of mine.npy holds the value -5" in faults.named[1]
    assert np.array_equal(read, np.maximum(images, 0))


@pytest.mark.parametrize("labels", [9, 11])
def test_each_split_has_as_many_labels_as_images(labels: int) -> None:
    whole = RawSplit(held(IMAGES), held(np.zeros(10, int)))
    wrong = RawSplit(held(IMAGES), held(np.zeros(labels, int)))
    for raw in (RawDataset(wrong), RawDataset(whole, wrong)):
        with pytest.raises(StepError, match=f"holds 10 images and mine.npy {labels} labels"):
            check_counts(raw)
        with collect_faults() as faults:
            assert [split.labels for split in check_counts(raw).splits.values()][-1] is None
        assert faults.count == 1
    assert check_counts(RawDataset(whole)) == RawDataset(whole)


@pytest.mark.parametrize("rows", [2**40, 2**70])
def test_rows_without_values_are_refused_before_they_are_selected(rows: int) -> None:
    """Their number, of which a small file may have any, takes no memory."""
    empty = held(IMAGES[:, :0])
    empty.shape = (rows, 0, 4)
    for split in (RawSplit(empty), RawSplit(held(IMAGES), empty)):
        with pytest.raises(StepError, match=rf"mine.npy has {rows} rows of shape \(0, 4\), with"):
            check_counts(RawDataset(split))


class Lying(Rows):
    """Rows that are not as many as they say, as of a file that somebody writes to."""

    def __init__(self, array: NDArray[Any], rows: int) -> None:
        super().__init__("mine.npy", (rows, *array.shape[1:]), array.dtype)
        self._array = array

    def blocks(self) -> Iterator[NDArray[Any]]:
        yield from np.array_split(self._array, 3)


@pytest.mark.parametrize("said", [9, 11])
def test_rows_that_are_not_as_many_as_they_say_are_refused(said: int) -> None:
    lying = Lying(IMAGES, said)
    for images in (lying, lying.select(np.ones(said, bool)), lying.select(np.arange(said) > 7)):
        with pytest.raises(StepError, match=rf"gave .*10 rows.*, expected {said} of shape"):
            checked_images(images).read()


def test_a_split_needs_images() -> None:
    with pytest.raises(StepError, match="mine.npy holds no images"):
        check_arrays({"test": RawSplit(held(IMAGES[:0]))})


def test_an_array_that_cannot_be_used_is_left_out_where_faults_are_collected() -> None:
    splits = {"train": RawSplit(held(IMAGES)), "test": RawSplit(held(IMAGES[:, 1:]), held(IMAGES))}
    with collect_faults() as faults:
        found = check_arrays(splits)  # type: ignore[arg-type]  # of all strings, these are splits
    assert set(found.arrays) == {"train_images"}
    assert "images of (2, 4), expected (3, 4)" in faults.named[0]
    assert "expected one whole number" in faults.named[1]
