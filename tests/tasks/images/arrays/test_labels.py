from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.arrays.labels import choose_column, count_labels, open_labels, read_classes
from tasks.images.arrays.stored import StoredArray
from tasks.images.faults import collect_faults
from tasks.images.rows import ArrayRows, Rows
from tests.conftest import read_all

LABELS = [2, 0, 1, 2, 2, 0]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 20)


def stored(array: NDArray[Any]) -> StoredArray:
    return StoredArray(
        "mine.npy",
        array.shape,
        array.dtype,
        lambda: ArrayRows("mine.npy", array),
        lambda: ArrayRows("mine.npy", np.moveaxis(array, -1, 0)),
    )


def opened(values: Any, dtype: Any = None) -> Rows:
    return open_labels(stored(np.asarray(values, dtype)))


@pytest.mark.parametrize(
    "dtype", ["u1", "i8", ">u2", "f2", ">f8", "U3", "S3"], ids=lambda dtype: f"type {dtype}"
)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 6), (6, 1, 1, 1)], ids=str)
def test_the_same_labels_in_any_type_and_shape_are_the_same(
    dtype: str, shape: tuple[int, ...]
) -> None:
    array = np.array(LABELS).astype(dtype).reshape(shape)
    assert count_labels(stored(array)) == 6
    classes = read_classes(opened(array), opened(array[:4]) if shape == (6,) else None)
    for _ in range(2):  # they can be read again
        assert read_all(classes.train).tolist() == LABELS
    assert classes.names == ()
    if classes.test:
        assert classes.test.read().tolist() == LABELS[:4]


@pytest.mark.parametrize("dtype", ["?", "u1", "f4"])
def test_one_hot_rows_are_the_column_of_their_one(dtype: str) -> None:
    array = np.eye(3)[LABELS].astype(dtype)
    assert count_labels(stored(array)) == 6
    assert read_all(read_classes(opened(array), None).train).tolist() == LABELS


def test_truth_values_are_0_and_1() -> None:
    found = read_all(read_classes(opened([True, False, True]), None).train)
    assert found.tolist() == [1, 0, 1]
    assert found.dtype == np.int64


def test_unsigned_bytes_stay_what_they_are() -> None:
    labels = opened(LABELS, np.uint8)
    assert read_classes(labels, None).train is labels


def test_a_single_label_is_one() -> None:
    assert read_all(read_classes(opened([[3]]), None).train).tolist() == [3]


@pytest.mark.parametrize("dtype", ["U9", "S9", object])
def test_text_gives_classes_in_alphabetical_order(dtype: Any) -> None:
    train = np.array(["shoe", "boot", "épée", "shoe"], object)
    if dtype == "S9":
        train = np.array([text.encode() for text in train])
    test = train[[2, 1]]
    classes = read_classes(opened(train, dtype), opened(test, dtype))
    assert classes.names == ("boot", "shoe", "épée")
    assert read_all(classes.train).tolist() == [1, 0, 2, 1]
    assert read_all(classes.test).tolist() == [2, 0]


def test_text_of_numbers_counts_as_numbers() -> None:
    """Sets of OpenML have '0' to '9'; sorted as text, '10' would come before '2'."""
    classes = read_classes(opened(["10", "2", "9"]), None)
    assert (read_all(classes.train).tolist(), classes.names) == ([10, 2, 9], ())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0, 1.5], r"row 1 of mine\.npy holds the class 1.5, expected a whole number"),
        ([0, np.nan], r"row 1 of mine\.npy holds the class nan"),
        ([0, np.inf], r"row 1 of mine\.npy holds the class inf"),
        ([[1, 0], [1, 1]], r"row 1 of mine\.npy has 2 values and is not one-hot"),
        ([[1, 0], [0, 0]], r"row 1 of mine\.npy has 2 values and is not one-hot"),
        ([[0.3, 0.7], [0, 1]], r"row 0 of mine\.npy has 2 values and is not one-hot"),
        (["boot", ""], r"row 1 of mine\.npy holds the class '', expected the printable name"),
        (["boot", "a\nb"], r"row 1 of mine\.npy holds the class 'a\\nb'"),
        ([b"boot", b"\xff"], r"row 1 of mine\.npy holds the class b'\\xff'"),
    ],
)
def test_what_is_no_class_is_named_with_its_row(values: Any, reason: str) -> None:
    classes = read_classes(opened(values), None)
    with pytest.raises(StepError, match=reason):
        read_all(classes.train)
    with collect_faults() as faults:
        read_all(classes.train)
    assert faults.count == 1


def test_a_class_that_no_training_image_has_is_named() -> None:
    classes = read_classes(opened(["boot", "shoe"]), opened(["shoe", "sock"]))
    with pytest.raises(StepError, match="row 1 of mine.npy holds the class 'sock'"):
        read_all(classes.test)


def test_text_and_numbers_are_not_mixed() -> None:
    with pytest.raises(StepError, match="are text and numbers: store both in one way"):
        read_classes(opened(["boot"]), opened([0]))


def test_labels_of_a_shape_without_meaning_are_refused() -> None:
    with pytest.raises(StepError, match="has shape 2x3x4, expected one label for each image"):
        opened(np.zeros((2, 3, 4)))
    with pytest.raises(StepError, match="holds rows of texts"):
        read_classes(opened([["a", "b"], ["c", "d"]]), None)


def test_a_column_is_chosen_where_there_are_several() -> None:
    table = opened([[5, 1], [6, 2], [7, 3]])
    assert choose_column(table, 1, "--flag").read().tolist() == [1, 2, 3]
    assert choose_column(opened(LABELS), 1, "--flag").read().tolist() == LABELS
    with pytest.raises(StepError, match="has 2 columns, counted from 0, .* 2 as --flag says"):
        choose_column(table, 2, "--flag")
