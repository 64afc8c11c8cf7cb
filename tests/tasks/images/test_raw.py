import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.raw import RawDataset, RawSplit, draw_test_images, join_splits
from tasks.images.rows import ArrayRows

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], 10)
ALL = RawSplit(ArrayRows("images", IMAGES), ArrayRows("labels", LABELS))


def test_a_share_is_drawn_for_testing() -> None:
    drawn = draw_test_images(RawDataset(ALL, class_names=("a", "b")), 0.3, seed=1)
    assert drawn.class_names == ("a", "b")
    for split, count in zip(drawn.splits.values(), (21, 9), strict=True):
        assert split.source_rows is not None
        assert split.labels is not None
        assert len(split.images) == count
        assert np.array_equal(split.images.read(), IMAGES[split.source_rows])
        assert np.array_equal(split.labels.read(), LABELS[split.source_rows])
        last = split.source_rows[-1]
        assert split.images.row_name(count - 1) == f"row {last} of images"


def test_the_seed_chooses_the_test_images() -> None:
    drawn = [draw_test_images(RawDataset(ALL), 0.3, seed).train.images.read() for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("rows", [0, 2])
def test_two_images_must_be_left(rows: int) -> None:
    few = RawDataset(RawSplit(ArrayRows("mine.npy", IMAGES[:rows])))
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
