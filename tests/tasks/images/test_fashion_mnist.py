import socket
from pathlib import Path

import numpy as np
import pytest

from tasks.core.backend import keras
from tasks.core.errors import StepError, TransientError
from tasks.core.records import DatasetRecord
from tasks.images import fashion_mnist
from tasks.images.fashion_mnist import (
    check_published,
    load_debian_package,
    load_with_keras,
    open_first_place,
)
from tasks.images.formats.idx import IDX_FILES, open_idx_folder
from tasks.images.rows import RawDataset
from tests.conftest import SAMPLE_FOLDER, sample_images


@pytest.fixture
def published_sample(dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch) -> RawDataset:
    """The sample in place of what was published."""
    monkeypatch.setattr(fashion_mnist, "PAYLOADS", dataset.payloads)
    return open_idx_folder(SAMPLE_FOLDER)


def test_swapped_files_are_named(published_sample: RawDataset) -> None:
    train, test = published_sample.train, published_sample.test
    assert test is not None
    swapped = RawDataset(train=test, test=train)
    with pytest.raises(StepError, match=r"test_images hold the train_images, .* t10k-images-idx3"):
        check_published(swapped)


def test_missing_arrays_are_named(published_sample: RawDataset) -> None:
    without_labels = published_sample.train._replace(labels=None)
    with pytest.raises(StepError, match="train_labels are missing"):
        check_published(published_sample._replace(train=without_labels))
    with pytest.raises(StepError, match="test_images and test_labels are missing"):
        check_published(published_sample._replace(test=None))


def test_the_next_place_is_tried_and_the_reason_logged(
    published_sample: RawDataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    def fail() -> RawDataset:
        raise TimeoutError("no answer within 10 s")

    places = {"the network": fail, "a disk": lambda: published_sample}
    monkeypatch.setattr(fashion_mnist, "places", lambda copy: places)
    caplog.set_level("INFO")
    name, raw = open_first_place(tmp_path)
    assert name == "a disk"
    assert raw == published_sample._replace(class_names=fashion_mnist.CLASSES)
    assert caplog.messages == ["no answer within 10 s; trying a disk"]


def test_a_first_run_warns_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline() -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "absent")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", offline)
    monkeypatch.setenv("PATH", str(tmp_path))
    caplog.set_level("INFO")
    with pytest.raises(TransientError) as failure:
        open_first_place(tmp_path / "no copy")
    first, second = caplog.messages
    assert first == f"Fashion-MNIST is not in {tmp_path}/absent; trying keras.datasets"
    assert second.startswith("Could not download from keras.datasets (no network?); trying the Deb")
    assert {record.levelname for record in caplog.records} == {"INFO"}
    message = str(failure.value)
    for reason in ("absent; ", "(Name or service not known); ", "apt-get was not found"):
        assert reason in message
    assert all(name in message for name in IDX_FILES.values())
    assert "\n" not in message


def test_keras_is_given_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = sample_images()
    labels = np.zeros(1, np.uint8)
    timeouts = []

    def load_data() -> tuple[object, object]:
        timeouts.append(socket.getdefaulttimeout())
        return (train, labels), (test, labels)

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    before = socket.getdefaulttimeout()
    raw = load_with_keras()
    assert raw.test is not None
    assert np.array_equal(raw.test.images.read(), test)
    assert timeouts == [fashion_mnist.CONNECT_SECONDS]
    assert socket.getdefaulttimeout() == before


def write_tools(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        (folder / tool).write_text(f"#!/bin/sh\n{script}\n")
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_the_debian_package_is_read_before_it_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = (
        'case "$*" in\n'
        "*download*) touch dataset-fashion-mnist_1_all.deb;;\n"
        f'-x*) mkdir -p "$3/{fashion_mnist.SYSTEM_FOLDER}"\n'
        f'cp {SAMPLE_FOLDER}/* "$3/{fashion_mnist.SYSTEM_FOLDER}";;\n'
        "esac"
    )
    write_tools(tmp_path, monkeypatch, script)
    raw, (train, test) = load_debian_package(), sample_images()
    assert raw.test is not None
    assert raw.test.labels is not None
    assert np.array_equal(raw.train.images.read(), train)
    assert np.array_equal(raw.test.images.read(), test)
    assert len(raw.test.labels.read()) == len(test)


def test_missing_package_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="apt-get was not found"):
        load_debian_package()


def test_the_last_line_of_the_package_tools_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_tools(tmp_path, monkeypatch, "echo 'E: first' >&2\necho 'E: no disk' >&2\nexit 9")
    with pytest.raises(StepError, match="apt-get failed: E: no disk"):
        load_debian_package()


def test_package_tools_that_hang_are_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_tools(tmp_path, monkeypatch, "exec sleep 600")
    monkeypatch.setattr(fashion_mnist, "PACKAGE_SECONDS", 0.2)
    with pytest.raises(StepError, match="apt-get did not end within"):
        load_debian_package()
