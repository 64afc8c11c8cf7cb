import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.encoding.classes import match_classes, relabel
from tests.conftest import EXAMPLE_DATASET

KNOWN = ("bag", "boot", "coat")
LABELLED = {"train_images": "t" * 64, "train_labels": "l" * 64}


def records(
    names: tuple[str, ...], known: tuple[str, ...] = KNOWN, payloads: dict[str, str] = LABELLED
) -> tuple[DatasetRecord, DatasetRecord]:
    """Facts about images to encode and about what the encoder was trained on."""
    images = EXAMPLE_DATASET.model_copy(update={"class_names": names})
    update = {"class_names": known, "payloads": payloads}
    return images, EXAMPLE_DATASET.model_copy(update=update)


def encoded_names(
    names: tuple[str, ...], labels: list[int], known: tuple[str, ...] = KNOWN
) -> list[str]:
    """The names that a reader of the encoded labels finds."""
    images, training_set = records(names, known)
    array = np.array(labels, np.uint8)
    changed, class_names = match_classes(images, array, "run-1", training_set)
    found = relabel(array, changed)
    assert found is not None
    return [class_names[label] for label in found]


@pytest.mark.parametrize("names", [KNOWN, ("bag", "coat"), ("coat",), ("coat", "boot", "bag")])
def test_every_image_keeps_the_name_of_its_class(names: tuple[str, ...]) -> None:
    labels = [*range(len(names)), 0]
    assert encoded_names(names, labels) == [names[label] for label in labels]


def test_numbers_count_into_the_names_of_the_encoder() -> None:
    assert encoded_names(("0", "1", "2"), [2, 0]) == ["coat", "bag"]


def test_numbers_that_are_names_of_the_encoder_are_names() -> None:
    """Folders of digits, and the encoder saw those called 3 and 7."""
    assert encoded_names(("3", "7"), [0, 1], known=("3", "7")) == ["3", "7"]
    assert encoded_names(("0", "1", "2", "3"), [3], known=("3", "7")) == ["3"]


def test_two_classes_of_one_name_stay_two() -> None:
    images, training_set = records(("a", "a"), known=("a", "a"))
    assert match_classes(images, np.array([0, 1]), "run-1", training_set)[0] == {}


@pytest.mark.parametrize(
    ("names", "labels", "unknown"),
    [
        (("bag", "hat"), [0, 1], "'hat'"),
        (("hat", "Bag"), [0, 1], "'hat', 'Bag'"),
        (("0", "1", "2", "3"), [3], "'3'"),
    ],
)
def test_a_class_that_the_encoder_does_not_know_is_named(
    names: tuple[str, ...], labels: list[int], unknown: str
) -> None:
    expected = f"mine has images of {unknown}, which the encoders of run run-1 do not know: they"
    with pytest.raises(StepError, match=expected) as refusal:
        encoded_names(names, labels)
    assert "they know 'bag', 'boot', 'coat'" in str(refusal.value)


def test_long_lists_of_classes_are_cut() -> None:
    known = tuple(f"class {number}" for number in range(900))
    with pytest.raises(StepError, match="they know 'class 0', .*'class 4' and 895 more"):
        encoded_names(("hat",), [0], known)


def test_a_class_without_images_need_not_be_known() -> None:
    assert encoded_names(("bag", "hat", "coat"), [0, 2]) == ["bag", "coat"]


def test_an_encoder_that_learned_no_classes_leaves_those_of_the_images() -> None:
    images, training_set = records(("hat", "cap"), known=(), payloads={"train_images": "t" * 64})
    found = match_classes(images, np.array([1]), "run-1", training_set)
    assert found == ({}, ("hat", "cap"))


def test_of_version_0_1_0_classes_without_names_are_numbers() -> None:
    assert encoded_names(("0", "1"), [1], known=()) == ["1"]
    with pytest.raises(StepError, match="has images of 'hat'"):
        encoded_names(("hat",), [0], known=())


def test_images_without_labels_have_no_classes_to_match() -> None:
    images, training_set = records(())
    assert match_classes(images, None, "run-1", training_set)[0] == {}
    assert relabel(None, {}) is None
