from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images import rows
from tasks.images.inspection import checked_arrays, checked_images, checked_labels, inspect
from tasks.images.rows import ArrayRows, RawSplit

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


@pytest.mark.parametrize("label", [-1, 1000])
def test_a_class_out_of_bounds_is_named_with_its_row(label: int) -> None:
    labels = np.zeros(200, np.int32)
    labels[150] = label
    with pytest.raises(
        StepError, match=rf"row 150 of mine\.npy holds the class {label}, exp.* 0 to 999"
    ):
        checked_labels(held(labels)).read()


@pytest.mark.parametrize("labels", [np.zeros((10, 2), int), np.zeros(10), np.full(10, "a")])
def test_classes_are_one_whole_number_each(labels: NDArray[Any]) -> None:
    with pytest.raises(StepError, match="expected one whole number"):
        checked_labels(held(labels)).read()


def test_labels_must_match_the_images() -> None:
    with pytest.raises(StepError, match="holds 10 images and mine.npy 9 labels"):
        inspect("mine", "test", {"train": RawSplit(held(IMAGES), held(np.zeros(9, int)))})


def test_a_split_needs_images() -> None:
    with pytest.raises(StepError, match="mine.npy holds no images"):
        checked_arrays({"test": RawSplit(held(IMAGES[:0]))})


def test_facts_are_those_of_the_images(caplog: pytest.LogCaptureFixture) -> None:
    test = IMAGES[[2, 2, 5]] // 2
    test[0] = IMAGES[9]
    facts = inspect("mine", "test", {"train": RawSplit(held(IMAGES)), "test": RawSplit(held(test))})
    assert facts.rows == {"train": 10, "test": 3}
    assert (facts.image_shape, facts.dtype, facts.scale) == ((3, 4), "uint8", 119)
    assert facts.duplicates == 1
    assert set(facts.payloads) == {"train_images", "test_images"}
    assert "1 of the 3 test images are training images too" in caplog.text
    assert "brighter" not in caplog.text


@pytest.mark.parametrize("count", [1, 10])
def test_identical_images_are_refused_for_training_alone(count: int) -> None:
    images = held(np.ones((count, 3, 4), np.uint8))
    with pytest.raises(StepError, match=rf"no two different training images \({count} in all\)"):
        inspect("mine", "test", {"train": RawSplit(images)})
    assert inspect("mine", "test", {"all": RawSplit(images)}).scale == 1
    inspect("mine", "test", {"train": RawSplit(held(IMAGES)), "test": RawSplit(images)})


def test_black_images_have_a_scale_that_can_divide() -> None:
    assert inspect("mine", "test", {"all": RawSplit(held(np.zeros_like(IMAGES)))}).scale == 1


def test_the_type_of_a_source_does_not_matter_but_its_values() -> None:
    """Bytes that were saved as booleans or signed bytes are the same images."""
    dtypes = ("?", "u1", "i1")
    found = [
        inspect("mine", "test", {"train": RawSplit(held((IMAGES > 60).astype(d)))}) for d in dtypes
    ]
    assert len({facts.payloads["train_images"] for facts in found}) == 1


@pytest.mark.parametrize(
    ("names", "complete"),
    [((), ("0", "1", "2", "3")), (("a", "b"), ("a", "b", "2", "3")), (tuple("abcde"),) * 2],
)
def test_labels_count_into_the_class_names(
    names: tuple[str, ...], complete: tuple[str, ...]
) -> None:
    labels = np.arange(10) % 4
    splits: dict[Split, RawSplit] = {
        "train": RawSplit(held(IMAGES), held(labels % 2)),
        "test": RawSplit(held(IMAGES), held(labels)),
    }
    assert inspect("mine", "test", splits, names).class_names == complete


def test_images_without_labels_have_the_class_names_that_were_given() -> None:
    splits: dict[Split, RawSplit] = {"train": RawSplit(held(IMAGES), source_rows=np.arange(10))}
    assert inspect("mine", "test", splits).class_names == ()
