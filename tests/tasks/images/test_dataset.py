from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.images import fashion_mnist
from tasks.images.dataset import draw_test_images, fetch_dataset, fetch_images, join_splits
from tasks.images.rows import ArrayRows, RawDataset, RawSplit
from tasks.images.sources import ArrayFiles, FashionMnist, IdxFolder
from tasks.images.store import array_file, open_images, open_index, open_labels
from tasks.parameters.images import DataParameters
from tests.conftest import SAMPLE, SAMPLE_FOLDER, sample_images
from tests.fetching import fetch

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], 10)
ALL = RawSplit(ArrayRows("images", IMAGES), ArrayRows("labels", LABELS))


def save(
    folder: Path, images: NDArray[np.generic], test: NDArray[np.generic] | None = None
) -> DataParameters:
    """A dataset of one's own, from `.npy` files."""
    np.save(folder / "images.npy", images)
    source = ArrayFiles(images_file=str(folder / "images.npy"))
    if test is not None:
        np.save(folder / "test.npy", test)
        source = source.model_copy(update={"test_images_file": str(folder / "test.npy")})
    return DataParameters(dataset="mine", source=source)


def random_images(count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_fetching_again_changes_nothing(dataset: DatasetRecord, root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / dataset.folder).iterdir()}
    assert fetch(SAMPLE, root) == dataset
    assert {path: path.stat().st_mtime_ns for path in (root / dataset.folder).iterdir()} == before


def test_what_is_named_fashion_mnist_must_be_what_was_published(
    root: Path, monkeypatch: pytest.MonkeyPatch, dataset: DatasetRecord
) -> None:
    source = IdxFolder(idx_folder=str(SAMPLE_FOLDER))
    with pytest.raises(StepError, match=r"train_images hold SHA-256 .* the published train-images"):
        fetch_images(fashion_mnist.NAME, source, root)
    assert not list(root.glob("datasets/fashion-mnist-[!s]*"))
    monkeypatch.setattr(fashion_mnist, "PAYLOADS", dataset.payloads)
    assert fetch_images(fashion_mnist.NAME, source, root).class_names == fashion_mnist.CLASSES


def test_the_stored_copy_of_fashion_mnist_is_enough(
    root: Path, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fashion_mnist, "PAYLOADS", dataset.payloads)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", SAMPLE_FOLDER)
    first = fetch(DataParameters(), root)
    assert first.source == str(SAMPLE_FOLDER)
    assert first.class_names == fashion_mnist.CLASSES
    places = fashion_mnist.places
    monkeypatch.setattr(fashion_mnist, "places", lambda copy: dict([*places(copy).items()][:1]))
    assert fetch(DataParameters(), root) == first
    together = fetch_images(fashion_mnist.NAME, FashionMnist(), root)
    assert together.rows == {"all": 640}
    images = np.concatenate(sample_images())
    assert np.array_equal(open_images(together, "all", root), images)


def test_another_dataset_needs_a_source(root: Path) -> None:
    with pytest.raises(StepError, match="needs a source"):
        fetch(DataParameters(dataset="mine"), root)


def test_class_names_of_ones_own_replace_those_of_the_source(
    dataset: DatasetRecord, root: Path
) -> None:
    names = tuple("abcdefghij")
    record = fetch(SAMPLE.model_copy(update={"class_names": names}), root)
    assert record.class_names == names
    assert fetch(SAMPLE, root) == dataset


def test_a_share_is_held_out_where_there_are_no_test_images(tmp_path: Path, root: Path) -> None:
    images = random_images(50, 3, 2)
    parameters = save(tmp_path, images).model_copy(update={"test_share": 0.2, "split_seed": 7})
    record = fetch(parameters, root)
    assert record.rows == {"train": 40, "test": 10}
    train, test = (open_index(record, split, root) for split in ("train", "test"))
    assert sorted([*train, *test]) == list(range(50))
    assert np.array_equal(open_images(record, "test", root), images[test])
    assert np.array_equal(open_images(record, "train", root), images[train])
    assert (np.diff(train) > 0).all()
    assert open_labels(record, "train", root) is None
    assert fetch(parameters, root) == record
    other = fetch(parameters.model_copy(update={"split_seed": 8}), root)
    assert other.payload_sha256 != record.payload_sha256


def test_a_source_that_changed_is_another_dataset(tmp_path: Path, root: Path) -> None:
    images = random_images(50, 3, 2)
    before = fetch(save(tmp_path, images), root)
    images[3, 1, 1] ^= 1
    after = fetch(save(tmp_path, images), root)
    assert after.folder != before.folder


def test_test_images_that_are_training_images_too_are_counted(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = random_images(40, 3, 2), random_images(9, 3, 2)
    test[[2, 5]] = train[[11, 30]]
    record = fetch(save(tmp_path, train, test), root)
    assert record.duplicates == 2
    assert "2 of the 9 test images are training images too" in caplog.text


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.zeros((0, 3, 3), np.uint8), "holds 0 images, too few"),
        (random_images(2, 3, 3), "holds 2 images, too few to hold out 10%"),
        (
            np.full((20, 3, 3), 9, np.uint8),
            r"no two different training images \(18 in all\)",
        ),
        (random_images(20, 9), "20 rows of 9 values: say how high and wide"),
        (random_images(20, 4, 4, 4), r"shape \(4, 4, 4\), expected height x width"),
        (random_images(4, 1025, 1024), "has images of 1,049,600 values"),
    ],
)
def test_images_that_cannot_be_learned_from_are_refused(
    images: NDArray[np.generic], reason: str, tmp_path: Path, root: Path
) -> None:
    with pytest.raises(StepError, match=reason):
        fetch(save(tmp_path, images), root)
    assert not list(root.glob("datasets/*"))


def test_one_training_image_is_too_few(tmp_path: Path, root: Path) -> None:
    with pytest.raises(StepError, match=r"no two different training images \(1 in all\)"):
        fetch(save(tmp_path, random_images(1, 3, 3), random_images(2, 3, 3)), root)


def test_splits_of_different_kinds_are_refused(tmp_path: Path, root: Path) -> None:
    train = random_images(9, 3, 3)
    with pytest.raises(StepError, match="expected uint8 as in"):
        fetch(save(tmp_path, train, train.astype(np.float32)), root)
    with pytest.raises(StepError, match=r"images of \(3, 2\), expected \(3, 3\)"):
        fetch(save(tmp_path, train, train[..., :2]), root)


@pytest.mark.parametrize("count", [19, 21])
def test_labels_that_are_not_as_many_as_the_images_are_refused(
    count: int, tmp_path: Path, root: Path
) -> None:
    """Whether test images are named or drawn, for training and to be encoded."""
    np.save(tmp_path / "labels.npy", np.zeros(count, int))
    np.save(tmp_path / "others.npy", np.zeros(29 - count, int))
    few, many = save(tmp_path, random_images(20, 3, 3), random_images(9, 3, 3)), str(count)
    labels = {"labels_file": str(tmp_path / "labels.npy")}
    others = {"test_labels_file": str(tmp_path / "others.npy")}
    drawn = few.source.model_copy(update={**labels, "test_images_file": None})
    named = few.source.model_copy(update={**labels, **others})
    for source in (drawn, named):
        with pytest.raises(StepError, match=rf"holds 20 images and .*labels.npy {many} labels"):
            fetch(few.model_copy(update={"source": source}), root)
        with pytest.raises(StepError, match=rf"holds 20 images and .*labels.npy {many} labels"):
            fetch_images("mine", source, root)
    assert not list(root.glob("datasets/*"))


def test_labels_from_1_are_those_of_the_names_in_order(tmp_path: Path, root: Path) -> None:
    np.save(tmp_path / "labels.npy", np.resize([1, 2, 3], 20))
    parameters = save(tmp_path, random_images(20, 3, 3))
    source = parameters.source.model_copy(update={"labels_file": str(tmp_path / "labels.npy")})
    record = fetch_images("mine", source, root, class_names=("a", "b", "c"))
    labels = open_labels(record, "all", root)
    assert labels is not None
    assert "".join(record.class_names[label] for label in labels[:4]) == "abca"


def test_a_set_to_encode_may_be_anything(tmp_path: Path, root: Path) -> None:
    """Nothing is learned from it: one image will do, or black ones."""
    source = save(tmp_path, np.zeros((1, 3, 3), np.uint8)).source
    record = fetch_images("mine", source, root)
    assert record.rows == {"all": 1}
    assert (root / record.folder / array_file("all_images")).exists()


def test_brighter_test_images_are_reported(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = random_images(20, 4, 4) // 2, random_images(10, 4, 4)
    fetch(save(tmp_path, train, test), root)
    assert "brighter values count as white" in caplog.text


def test_arguments_are_those_of_the_parameters(root: Path, dataset: DatasetRecord) -> None:
    fetched = fetch_dataset(SAMPLE.dataset, SAMPLE.source, root, test_share=0.5, split_seed=1)
    assert fetched == dataset  # the source has test images


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
