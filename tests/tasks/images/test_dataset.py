import logging
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.images import fashion_mnist as published
from tasks.images import store as image_store
from tasks.images.dataset import fetch_dataset, fetch_images
from tasks.images.fashion_mnist import Place
from tasks.images.inspection import sound_images
from tasks.images.source_parameters import IdxFolder, SourceParameters
from tasks.images.sources import IDX_FILES, RawDataset, open_idx_folder
from tasks.images.store import (
    array_file,
    open_images,
    open_index,
    open_labels,
    representative_rows,
)
from tasks.parameters.images import DataParameters
from tests.conftest import SAMPLE, SAMPLE_FOLDER, read_all, sample_images


def copy_sample(folder: Path) -> Path:
    shutil.copytree(SAMPLE_FOLDER, folder)
    return folder


def fashion_mnist(folder: Path) -> DataParameters:
    return DataParameters(source=IdxFolder(idx_folder=str(folder)))


def test_stores_the_arrays_for_memory_mapping(dataset: DatasetRecord, root: Path) -> None:
    raw = open_idx_folder(SAMPLE_FOLDER)
    assert raw.test is not None
    images, labels = open_images(dataset, "train", root), open_labels(dataset, "test", root)
    assert isinstance(images, np.memmap)
    assert np.array_equal(images, read_all(raw.images.images))
    assert labels is not None
    assert np.array_equal(labels, read_all(raw.test.labels))
    assert (dataset.image_shape, dataset.scale) == ((28, 28), 255.0)
    assert (dataset.dtype, dataset.rows) == ("uint8", {"train": 512, "test": 128})


def test_fetching_again_changes_nothing(dataset: DatasetRecord, root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / dataset.folder).iterdir()}
    assert fetch_dataset(SAMPLE, root) == dataset
    assert {path: path.stat().st_mtime_ns for path in (root / dataset.folder).iterdir()} == before


@pytest.mark.parametrize("file", ["train.npy", "test_labels.npy", "dataset.json"])
def test_a_damaged_copy_is_fetched_anew(
    dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    path = root / dataset.folder / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with caplog.at_level(logging.WARNING):
        fetch_dataset(SAMPLE, root)
    assert "is damaged and fetched anew" in caplog.text
    assert path.read_bytes() == whole


def test_a_flipped_bit_is_noticed(dataset: DatasetRecord, root: Path) -> None:
    path = root / dataset.folder / "train.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    fetch_dataset(SAMPLE, root)
    assert path.read_bytes() == whole


def test_fashion_mnist_must_be_what_was_published(root: Path) -> None:
    with pytest.raises(StepError, match=r"train_images hold SHA-256 .* the published train-images"):
        fetch_dataset(fashion_mnist(SAMPLE_FOLDER), root)
    assert not list((root).glob("datasets/*"))


def test_swapped_files_are_named(
    root: Path, tmp_path: Path, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "PAYLOADS", dataset.payloads)
    folder = copy_sample(tmp_path / "swapped")
    train, test = (folder / f"{IDX_FILES[f'{split}_images']}.gz" for split in ("train", "test"))
    train.rename(folder / "train")
    test.rename(train)
    (folder / "train").rename(test)
    for name in ("train", "t10k"):
        (folder / f"{name}-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(StepError, match="test_images hold the train_images"):
        fetch_dataset(fashion_mnist(folder), root)


def place(name: str, folder: Path) -> Place:
    def open_place() -> AbstractContextManager[RawDataset]:
        return nullcontext(open_idx_folder(folder))

    return Place(name, open_place)


def test_the_next_place_is_tried_and_the_reason_told(
    root: Path,
    dataset: DatasetRecord,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unreachable() -> AbstractContextManager[RawDataset]:
        raise TimeoutError("no answer within 10 s")

    places = [Place("the network", unreachable), place("a disk", SAMPLE_FOLDER)]
    monkeypatch.setattr(published, "places", lambda: places)
    monkeypatch.setattr(published, "PAYLOADS", dataset.payloads)
    record = fetch_dataset(DataParameters(), root)
    assert record.source == "a disk"
    assert record.class_names == published.CLASSES
    assert "the network does not serve: no answer within 10 s" in caplog.text


def test_the_verified_copy_is_the_first_place(
    root: Path, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "PAYLOADS", dataset.payloads)
    monkeypatch.setattr(published, "places", lambda: [place("a disk", SAMPLE_FOLDER)])
    first = fetch_dataset(DataParameters(), root)
    monkeypatch.setattr(published, "places", list)
    assert fetch_dataset(DataParameters(), root) == first
    together = fetch_images(SourceParameters(), root)
    assert together.rows == {"all": 640}
    images = np.concatenate(sample_images())
    assert np.array_equal(open_images(together, "all", root), images)


def test_all_reasons_are_told_when_no_place_serves(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = [place("one", tmp_path / "absent"), place("two", SAMPLE_FOLDER)]
    monkeypatch.setattr(published, "places", lambda: places)
    with pytest.raises(StepError) as failure:
        fetch_dataset(DataParameters(), root)
    message = str(failure.value)
    assert "one: " in message
    assert "two: train_images hold" in message
    assert all(name in message for name in IDX_FILES.values())
    assert "\n" not in message


def test_another_dataset_needs_a_source(root: Path) -> None:
    with pytest.raises(StepError, match="needs a source"):
        fetch_dataset(DataParameters(dataset="mine"), root)


def save(
    folder: Path, images: NDArray[np.generic], test: NDArray[np.generic] | None = None
) -> DataParameters:
    """A dataset of one's own, from `.npy` files."""
    np.save(folder / "images.npy", images)
    files = {"images_file": str(folder / "images.npy")}
    if test is not None:
        np.save(folder / "test.npy", test)
        files["test_images_file"] = str(folder / "test.npy")
    return DataParameters.model_validate({"dataset": "mine", "source": files})


def random_images(count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_a_share_is_set_apart_where_there_are_no_test_images(tmp_path: Path, root: Path) -> None:
    images = random_images(50, 3, 2)
    parameters = save(tmp_path, images).model_copy(update={"test_share": 0.2, "split_seed": 7})
    record = fetch_dataset(parameters, root)
    assert record.rows == {"train": 40, "test": 10}
    train, test = (open_index(record, split, root) for split in ("train", "test"))
    assert sorted([*train, *test]) == list(range(50))
    assert np.array_equal(open_images(record, "test", root), images[test])
    assert np.array_equal(open_images(record, "train", root), images[train])
    assert (np.diff(train) > 0).all()
    assert open_labels(record, "train", root) is None
    assert fetch_dataset(parameters, root) == record
    other = fetch_dataset(parameters.model_copy(update={"split_seed": 8}), root)
    assert other.payload_sha256 != record.payload_sha256


def test_the_index_of_given_test_images_counts_them(dataset: DatasetRecord, root: Path) -> None:
    assert np.array_equal(open_index(dataset, "test", root), np.arange(128))


def test_a_source_that_changed_is_another_dataset(tmp_path: Path, root: Path) -> None:
    images = random_images(50, 3, 2)
    before = fetch_dataset(save(tmp_path, images), root)
    images[3, 1, 1] ^= 1
    after = fetch_dataset(save(tmp_path, images), root)
    assert after.folder != before.folder


def test_test_images_that_were_seen_in_training_are_counted(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = random_images(40, 3, 2), random_images(9, 3, 2)
    test[[2, 5]] = train[[11, 30]]
    record = fetch_dataset(save(tmp_path, train, test), root)
    assert record.duplicates == 2
    assert "2 of the 9 test images stand among the training images too" in caplog.text


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.zeros((0, 3, 3), np.uint8), "holds 0 images, too few"),
        (random_images(2, 3, 3), "holds 2 images, too few to set 10% apart"),
        (np.full((20, 3, 3), 9, np.uint8), "All 18 images of .*images.npy are the same"),
        (random_images(20, 9), r"has shape \(20, 9\), expected N x height x width"),
        (random_images(20, 3, 4, 4), "expected N x height x width"),
        (random_images(4, 1025, 1024), "has images of 1,049,600 values"),
    ],
)
def test_images_that_cannot_be_learned_from_are_refused(
    images: NDArray[np.generic], reason: str, tmp_path: Path, root: Path
) -> None:
    with pytest.raises(StepError, match=reason):
        fetch_dataset(save(tmp_path, images), root)
    assert not list(root.glob("datasets/*"))


def test_one_training_image_is_too_few(tmp_path: Path, root: Path) -> None:
    with pytest.raises(StepError, match="holds one image"):
        fetch_dataset(save(tmp_path, random_images(1, 3, 3), random_images(2, 3, 3)), root)


def test_splits_of_different_kinds_are_refused(tmp_path: Path, root: Path) -> None:
    train = random_images(9, 3, 3)
    with pytest.raises(StepError, match="expected uint8 as in"):
        fetch_dataset(save(tmp_path, train, train.astype(np.float32)), root)
    with pytest.raises(StepError, match=r"images of \(3, 2\), expected \(3, 3\)"):
        fetch_dataset(save(tmp_path, train, train[..., :2]), root)


def test_a_set_to_encode_may_be_anything(tmp_path: Path, root: Path) -> None:
    """Nothing is learned from it: one image will do, or black ones."""
    parameters = save(tmp_path, np.zeros((1, 3, 3), np.uint8))
    record = fetch_images(parameters, root)
    assert record.rows == {"all": 1}
    assert (root / record.folder / array_file("all_images")).exists()


def test_images_that_change_while_they_are_read_are_noticed(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = save(tmp_path, random_images(20, 3, 3))
    monkeypatch.setattr(
        image_store, "sound_images", lambda rows: (~block for block in sound_images(rows))
    )
    with pytest.raises(StepError, match="changed while they were read"):
        fetch_dataset(parameters, root)
    assert not list(root.glob("datasets/[!.]*"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1] * 10, [0, 1, 2, 3]),
        ([0] * 10 + [1] * 10, [0, 5, 10, 15]),
        (None, [0, 5, 10, 15]),
    ],
    ids=["mixed", "in order", "unlabelled"],
)
def test_typical_images_are_of_all_classes(
    labels: list[int] | None, expected: list[int], tmp_path: Path, root: Path
) -> None:
    images = random_images(20, 3, 2)
    parameters = save(tmp_path, images, images[:1])
    if labels:
        np.save(tmp_path / "labels.npy", labels)
        source = parameters.source.model_copy(update={"labels_file": str(tmp_path / "labels.npy")})
        parameters = parameters.model_copy(update={"source": source})
    record = fetch_dataset(parameters, root)
    assert representative_rows(record, "train", 4, root).tolist() == expected


def test_test_images_that_are_brighter_are_told(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, test = random_images(20, 4, 4) // 2, random_images(10, 4, 4)
    fetch_dataset(save(tmp_path, train, test), root)
    assert "what is brighter counts as white" in caplog.text
