import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks import dataset as datasets
from tasks.dataset import fetch_dataset, open_images, open_labels, verify
from tasks.errors import StepError
from tasks.parameters import DataParameters
from tasks.records import DatasetRecord
from tasks.sources import IDX_FILES, RawDataset, Source, read_folder
from tests.conftest import SAMPLE, SAMPLE_FOLDER


def copy_sample(folder: Path) -> Path:
    shutil.copytree(SAMPLE_FOLDER, folder)
    return folder


def fashion_mnist(folder: Path) -> DataParameters:
    return DataParameters(dataset="fashion-mnist", folder=str(folder))


def test_stores_the_arrays_for_memory_mapping(dataset: DatasetRecord, root: Path) -> None:
    raw = read_folder(SAMPLE_FOLDER)
    images = open_images(dataset, "train", root)
    assert isinstance(images, np.memmap)
    assert np.array_equal(images, raw.train_images)
    assert np.array_equal(open_labels(dataset, "test", root), raw.test_labels)
    assert (dataset.image_shape, dataset.scale) == ((28, 28), 255.0)


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
    with pytest.raises(StepError, match=r"train-images-idx3-ubyte.gz holds SHA-256 .* expected"):
        fetch_dataset(fashion_mnist(SAMPLE_FOLDER), root)
    assert not list((root).glob("datasets/*"))


def test_swapped_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = read_folder(SAMPLE_FOLDER)
    expected = verify(raw, None)
    swapped = RawDataset(raw.test_images, raw.test_labels, raw.train_images, raw.train_labels)
    with pytest.raises(StepError, match="train-images-idx3-ubyte.gz holds the test_images"):
        verify(swapped, expected)


def test_labels_must_match_the_images() -> None:
    raw = read_folder(SAMPLE_FOLDER)
    with pytest.raises(StepError, match="512 training images have 128 labels"):
        verify(raw._replace(train_labels=raw.test_labels), None)


def test_images_must_have_one_shape() -> None:
    raw = read_folder(SAMPLE_FOLDER)
    with pytest.raises(StepError, match="expected the same"):
        verify(raw._replace(test_images=raw.test_images[:, 1:]), None)


def test_black_images_are_refused() -> None:
    raw = read_folder(SAMPLE_FOLDER)
    with pytest.raises(StepError, match="nothing to learn"):
        verify(raw._replace(train_images=np.zeros_like(raw.train_images)), None)


def test_the_next_source_is_tried_and_the_reason_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable() -> RawDataset:
        raise TimeoutError("no answer within 10 s")

    sources = [
        Source("the network", unreachable),
        Source("a disk", lambda: read_folder(SAMPLE_FOLDER)),
    ]
    monkeypatch.setattr(datasets, "fashion_mnist_sources", lambda: sources)
    monkeypatch.setattr(
        datasets, "FASHION_MNIST_PAYLOADS", verify(read_folder(SAMPLE_FOLDER), None)
    )
    record = fetch_dataset(DataParameters(), root)
    assert record.source == "a disk"
    assert "Source the network does not serve: no answer within 10 s" in caplog.text


def test_all_reasons_are_told_when_no_source_serves(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = [
        Source("one", lambda: read_folder(tmp_path / "absent")),
        Source("two", lambda: read_folder(SAMPLE_FOLDER)),
    ]
    monkeypatch.setattr(datasets, "fashion_mnist_sources", lambda: sources)
    with pytest.raises(StepError) as failure:
        fetch_dataset(DataParameters(), root)
    message = str(failure.value)
    assert "one: " in message
    assert "two: train-images-idx3-ubyte.gz holds" in message
    assert all(name in message for name in IDX_FILES.values())
    assert "\n" not in message


def test_a_folder_must_lie_beneath_the_data_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = tmp_path / "data"
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(allowed))
    inside = copy_sample(allowed / "mine")
    fetch_dataset(DataParameters(dataset="mine", folder=str(inside)), root)
    (allowed / "link").symlink_to(SAMPLE_FOLDER)
    for outside in (SAMPLE_FOLDER, allowed / "link", allowed / "mine/../../.."):
        with pytest.raises(StepError, match="outside"):
            fetch_dataset(DataParameters(dataset="mine", folder=str(outside)), root)


def test_another_dataset_needs_a_folder(root: Path) -> None:
    with pytest.raises(StepError, match="needs a folder"):
        fetch_dataset(DataParameters(dataset="mine"), root)
