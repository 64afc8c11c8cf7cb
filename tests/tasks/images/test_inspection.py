from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.inspection import image_shape, inspect, sound_images, sound_labels, stored_type
from tasks.images.rows import ArrayRows
from tasks.images.sources import RawSplit

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
    images = held((IMAGES > 60).astype(dtype))
    assert stored_type(images) == stored
    (found, *_) = sound_images(images)
    assert found.dtype == stored
    assert np.array_equal(np.concatenate(list(sound_images(images))), IMAGES > 60)


@pytest.mark.parametrize("dtype", ["U3", "c8", "O", "V4"])
def test_what_is_no_number_is_refused(dtype: str) -> None:
    with pytest.raises(StepError, match=r"mine\.npy holds values of type .*, expected numbers"):
        stored_type(held(np.empty((2, 3, 4), dtype)))


def test_a_single_colour_is_grey() -> None:
    assert image_shape(held(IMAGES[..., np.newaxis])) == (3, 4)
    (found, *_) = sound_images(held(IMAGES[..., np.newaxis]))
    assert found.shape[1:] == (3, 4)


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
        list(sound_images(held(images)))


@pytest.mark.parametrize("label", [-1, 1000])
def test_a_class_out_of_bounds_is_named_with_its_row(label: int) -> None:
    labels = np.zeros(200, np.int32)
    labels[150] = label
    with pytest.raises(StepError, match=rf"row 150 of mine\.npy is of class {label}, expected 0"):
        list(sound_labels(held(labels)))


@pytest.mark.parametrize("labels", [np.zeros((10, 2), int), np.zeros(10), np.full(10, "a")])
def test_classes_are_one_whole_number_each(labels: NDArray[Any]) -> None:
    with pytest.raises(StepError, match="expected one whole number"):
        list(sound_labels(held(labels)))


def test_labels_must_match_the_images() -> None:
    with pytest.raises(StepError, match="holds 10 images and mine.npy 9 labels"):
        inspect({"train": RawSplit(held(IMAGES), held(np.zeros(9, int)))})


def test_facts_are_those_of_the_images() -> None:
    test = IMAGES[[2, 2, 5]] // 2
    test[0] = IMAGES[9]
    facts = inspect({"train": RawSplit(held(IMAGES)), "test": RawSplit(held(test))})
    assert facts.maxima == {"train": 119, "test": 119}
    assert facts.constant == {"train": False, "test": False}
    assert facts.duplicates == 1
    assert set(facts.payloads) == {"train_images", "test_images"}
    same = inspect({"train": RawSplit(held(np.ones_like(IMAGES)))})
    assert same.constant == {"train": True}


def test_the_type_of_a_source_does_not_matter_but_its_values() -> None:
    """Bytes that were saved as booleans or signed bytes are the same images."""
    dtypes = ("?", "u1", "i1")
    found = [inspect({"train": RawSplit(held((IMAGES > 60).astype(d)))}) for d in dtypes]
    assert len({facts.payloads["train_images"] for facts in found}) == 1
