from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, Split
from tasks.images import rows
from tasks.images.faults import collect_faults
from tasks.images.inspection import (
    CLASS_SAMPLES,
    MOST_SAMPLES,
    SAMPLE_SIDE,
    describe_dataset,
    inspect,
)
from tasks.images.rows import ArrayRows, RawSplit

IMAGES = np.arange(120, dtype=np.uint8).reshape(10, 3, 4)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 40)


def held(array: NDArray[Any]) -> ArrayRows:
    return ArrayRows("mine.npy", array)


def record_of(splits: dict[Split, RawSplit]) -> DatasetRecord:
    return describe_dataset("mine", "test", inspect(splits))


def test_facts_are_those_of_the_images(caplog: pytest.LogCaptureFixture) -> None:
    test = IMAGES[[2, 2, 5]] // 2
    test[0] = IMAGES[9]
    facts = record_of({"train": RawSplit(held(IMAGES)), "test": RawSplit(held(test))})
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
        inspect({"train": RawSplit(images)})
    assert record_of({"all": RawSplit(images)}).scale == 1
    inspect({"train": RawSplit(held(IMAGES)), "test": RawSplit(images)})


def test_black_images_have_a_scale_that_can_divide() -> None:
    assert record_of({"all": RawSplit(held(np.zeros_like(IMAGES)))}).scale == 1


def test_the_type_of_a_source_does_not_matter_but_its_values() -> None:
    """Bytes that were saved as booleans or signed bytes are the same images."""
    dtypes = ("?", "u1", "i1")
    found = [record_of({"train": RawSplit(held((IMAGES > 60).astype(d)))}) for d in dtypes]
    assert len({facts.payloads["train_images"] for facts in found}) == 1


def test_the_images_of_each_class_are_counted_and_some_are_kept() -> None:
    labels = np.array([0, 2, 2, 0, 2, 2, 2, 2, 2, 2])
    found = inspect({"train": RawSplit(held(IMAGES), held(labels))}, samples=True)
    assert found.classes.counts["train"].tolist() == [2, 0, 8]
    assert sorted(found.images["train"].samples) == list(range(10))
    assert np.array_equal(found.images["train"].samples[7], IMAGES[7])
    assert (found.images["train"].least, found.images["train"].greatest) == (0, 119)


def test_samples_are_few_and_small() -> None:
    images = np.zeros((CLASS_SAMPLES + 9, SAMPLE_SIDE + 1, 9), np.uint8)
    images[0, ::2, ::2] = 1
    found = inspect({"all": RawSplit(held(images), held(np.zeros(len(images), int)))}, samples=True)
    samples = found.images["all"].samples
    assert list(samples) == list(range(CLASS_SAMPLES))
    assert np.array_equal(samples[0], np.ones((SAMPLE_SIDE // 2 + 1, 5)))
    many = np.zeros((MOST_SAMPLES + 5, 1, 1), np.uint8)
    labels = held(np.arange(len(many)))
    found = inspect({"all": RawSplit(held(many), labels)}, samples=True)
    assert len(found.images["all"].samples) == MOST_SAMPLES


def test_without_labels_samples_are_spread_over_all_images() -> None:
    images = np.zeros((400, 1, 1), np.uint8)
    found = inspect({"all": RawSplit(held(images))}, samples=True)
    assert list(found.images["all"].samples) == list(range(0, 400, 10))


def test_an_inspection_goes_on_behind_a_fault() -> None:
    bad = IMAGES.astype(np.float32)
    bad[3, 0, 0] = np.nan
    splits: dict[Split, RawSplit] = {
        "train": RawSplit(held(bad), held(np.array([0, 1, -1, *[1] * 7]))),
        "test": RawSplit(held(IMAGES.astype(np.float32)), held(np.array([0] * 9 + [20_000]))),
    }
    with collect_faults() as faults:
        found = inspect(splits, samples=True)
    assert faults.count == 3
    assert "row 2 of mine.npy holds the class -1" in faults.named[0]
    assert "row 9 of mine.npy holds the class 20000" in faults.named[1]
    assert "row 3 of mine.npy holds the value nan" in faults.named[2]
    assert found.classes.counts["train"].tolist() == [1, 8]
    assert found.duplicates == 9
    assert set(found.images) == {"train", "test"}


def test_a_split_that_cannot_be_read_does_not_hide_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = held(IMAGES)

    def fail() -> None:
        raise StepError("mine.npy is truncated")

    monkeypatch.setattr(broken, "blocks", fail)
    with collect_faults() as faults:
        found = inspect({"train": RawSplit(broken), "test": RawSplit(held(IMAGES))})
    assert faults.named == ["mine.npy is truncated"]
    assert found.images["test"].greatest == 119
