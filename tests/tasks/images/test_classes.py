from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.classes import Classes, match_names, read_labels
from tasks.images.rows import ArrayRows, Rows

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


def held(labels: Any) -> ArrayRows:
    return ArrayRows("labels.npy", np.array(labels))


def match(names: tuple[str, ...], **labels: Any) -> Classes:
    splits: dict[Split, Rows] = {split: held(labels[split]) for split in labels}  # type: ignore
    return match_names(splits, names)


@pytest.mark.parametrize(("dtype", "stored"), [("u1", "u1"), ("i1", "i8"), ("u8", "i8")])
def test_labels_are_stored_in_two_types(dtype: str, stored: str) -> None:
    labels = read_labels(held(np.array([[3], [0]], dtype)))
    assert labels.dtype == stored
    assert labels.tolist() == [3, 0]


@pytest.mark.parametrize("label", [-1, 10_001, 2**40])
def test_a_class_out_of_bounds_is_named_with_its_row(label: int) -> None:
    labels = np.zeros(200, np.int64)
    labels[150] = label
    with pytest.raises(StepError, match=rf"row 150 .* class {label}, expected 0 to 10,000: number"):
        read_labels(held(labels))


@pytest.mark.parametrize("labels", [np.zeros((10, 2), int), np.zeros(10), np.full(10, "a")])
def test_classes_are_one_whole_number_each(labels: NDArray[Any]) -> None:
    with pytest.raises(StepError, match="expected one whole number"):
        read_labels(held(labels))


@pytest.mark.parametrize("dtype", ["u1", "i8"])
def test_labels_that_begin_with_1_belong_to_as_many_names_in_order(dtype: str) -> None:
    train, test = np.arange(1, 27, dtype=dtype), np.array([26, 1, 3], dtype)
    found = match(LETTERS, train=train, test=test)
    assert found.names == LETTERS
    assert [LETTERS[label] for label in found.labels["test"]] == ["z", "a", "c"]
    assert found.labels["train"].tolist() == list(range(26))
    assert found.labels["train"].dtype == dtype
    assert found.counts["test"][[0, 2, 25]].tolist() == [1, 1, 1]


def test_labels_without_names_are_their_own(caplog: pytest.LogCaptureFixture) -> None:
    found = match((), train=[1, 2, 3, 1])
    assert found.names == ("0", "1", "2", "3")
    assert found.labels["train"].tolist() == [1, 2, 3, 1]
    assert found.counts["train"].tolist() == [0, 2, 1, 1]
    assert "1 of the 4 classes have no images (0)" in caplog.text


def test_labels_from_0_are_never_shifted() -> None:
    assert match(("a", "b", "c"), train=[2, 1, 0]).labels["train"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("names", "labels", "line"),
    [
        (("a", "b"), [0, 1, 2], "labels from 0 to 2, but there are 2 class names, .* name 3 class"),
        (LETTERS, [1, 2, 26], "labels from 1 to 26, but there are 26 .* label 0: name 27 classes"),
    ],
)
def test_too_few_names_are_refused(names: tuple[str, ...], labels: list[int], line: str) -> None:
    with pytest.raises(StepError, match=f"labels.npy has {line}"):
        match(names, train=labels)


def test_of_too_many_names_and_of_gaps_it_is_said_which_have_no_images(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert match(tuple("abcde"), train=[0, 3, 0], test=[1]).names == tuple("abcde")
    assert "2 of the 5 classes have no images (c, e): labels.npy and labels.npy" in caplog.text
    caplog.clear()
    match((), train=[0, 40])
    assert "39 of the 41 classes have no images (1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ...)" in caplog.text


def test_images_without_labels_have_the_class_names_that_were_given() -> None:
    assert match(("a", "b")) == Classes(("a", "b"), {}, {})
    assert match(()).names == ()
