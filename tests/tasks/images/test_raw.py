import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.raw import RawDataset, RawSplit, draw_test_images, join_splits
from tasks.images.rows import ArrayRows

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], 10)
ALL = RawSplit(ArrayRows("images", IMAGES), ArrayRows("labels", LABELS))


def test_test_images_are_drawn_by_the_seed() -> None:
    train, test = draw_test_images(ALL, 0.3, seed=1)
    for split, count in ((train, 21), (test, 9)):
        assert split.source_rows is not None
        assert split.labels is not None
        assert len(split.images) == count
        assert np.array_equal(split.images.read(), IMAGES[split.source_rows])
        assert np.array_equal(split.labels.read(), LABELS[split.source_rows])
    assert train.source_rows is not None
    assert train.images.row_name(20) == f"row {train.source_rows[-1]} of images"
    _, again = draw_test_images(ALL, 0.3, seed=1)
    _, other = draw_test_images(ALL, 0.3, seed=2)
    assert np.array_equal(again.images.read(), test.images.read())
    assert not np.array_equal(other.images.read(), test.images.read())


@pytest.mark.parametrize("rows", [0, 2])
def test_two_images_must_be_left(rows: int) -> None:
    few = RawSplit(ArrayRows("mine.npy", IMAGES[:rows]))
    with pytest.raises(StepError, match=f"mine.npy holds {rows} images, too few to hold out 10%"):
        draw_test_images(few, 0.1, seed=0)


def test_joined_splits_are_one_after_the_other() -> None:
    test = RawSplit(ArrayRows("test", IMAGES[:7]), ArrayRows("test labels", LABELS[:7]))
    whole = join_splits(RawDataset(ALL, test))
    assert whole.labels is not None
    assert np.array_equal(whole.images.read(), np.concatenate([IMAGES, IMAGES[:7]]))
    assert np.array_equal(whole.labels.read(), np.concatenate([LABELS, LABELS[:7]]))
    assert whole.images.row_name(31) == "row 1 of test"
    assert join_splits(RawDataset(ALL)) == ALL


def test_joined_splits_have_labels_only_if_both_have_them() -> None:
    assert join_splits(RawDataset(ALL, RawSplit(ALL.images))).labels is None
