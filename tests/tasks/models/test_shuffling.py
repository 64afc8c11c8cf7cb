import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.models import shuffling
from tasks.models.shuffling import ShuffledRows, shuffled_rows


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    order = shuffled_rows(1000, 784, 1, 2)
    assert sorted(order) == list(range(1000))
    assert np.array_equal(shuffled_rows(1000, 784, 1, 2), order)
    others = [shuffled_rows(1000, 784, *position) for position in ((1, 3), (2, 2), (2, 1))]
    assert all(not np.array_equal(order, other) for other in others)


def test_the_order_of_a_large_set_reads_long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 200 rows, each made of 20 whole runs of 10 neighbours; 1003 rows in all."""
    monkeypatch.setattr(shuffling, "SHUFFLE_BYTES", 2000)
    monkeypatch.setattr(shuffling, "RUN_BYTES", 100)
    order = shuffled_rows(1003, 10, 0, 0)
    assert sorted(order) == list(range(1003))
    for start in range(0, 1003, 200):
        window = order[start : start + 200]
        assert len({row // 10 for row in window}) <= 21
        assert not (np.abs(np.diff(window)) == 1).all()
    assert len({row // 10 for row in order[:20]}) > 10


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 20 images of ten bytes, made of runs of 5."""
    monkeypatch.setattr(shuffling, "SHUFFLE_BYTES", 200)
    monkeypatch.setattr(shuffling, "RUN_BYTES", 50)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("rows", [19, 20, 21, 103])
@pytest.mark.parametrize("capacity", [1, 7, 20, 50, 200])
def test_images_come_in_the_order_of_their_epochs(
    rows: int, capacity: int, mapped: bool, tmp_path: Path
) -> None:
    images = np.arange(rows * 5, dtype=np.uint16).reshape(rows, 5, 1)
    np.save(tmp_path / "images.npy", images)
    shuffled = ShuffledRows(
        np.load(tmp_path / "images.npy", mmap_mode="r") if mapped else images, seed=3
    )
    for epoch in (0, 1, 0):
        found = []
        for first in range(0, rows, capacity):
            out = np.zeros((capacity, 5, 1), np.uint16)
            taken = shuffled.take(epoch, first, out)
            assert not out[taken:].any()
            found.append(out[:taken])
        assert np.array_equal(np.concatenate(found), images[shuffled_rows(rows, 10, 3, epoch)])


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("first", [0, 19, 20, 57, 102])
def test_an_epoch_can_be_entered_anywhere(first: int) -> None:
    images = np.arange(103 * 5, dtype=np.uint16).reshape(103, 5, 1)
    out = np.zeros((30, 5, 1), np.uint16)
    taken = ShuffledRows(images, seed=3).take(1, first, out)
    assert np.array_equal(out[:taken], images[shuffled_rows(103, 10, 3, 1)[first : first + 30]])


@pytest.mark.usefixtures("small_windows")
def test_each_image_of_a_large_set_is_read_once_an_epoch_with_its_neighbours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", np.arange(103 * 5, dtype=np.uint16).reshape(103, 5, 1))
    read: list[range] = []

    class SpyFile(FileIO):
        def readinto(self, target: Any) -> int:
            first = (self.tell() - 128) // 10  # after the header of an .npy file
            read.append(range(first, first + len(target)))
            return super().readinto(target)

    monkeypatch.setattr(shuffling, "FileIO", SpyFile)
    shuffled = ShuffledRows(np.load(tmp_path / "images.npy", mmap_mode="r"), seed=3)
    for first in range(0, 103, 7):
        shuffled.take(0, first, np.zeros((7, 5, 1), np.uint16))
    assert sorted(row for run in read for row in run) == list(range(103))
    assert len(read) <= 26  # 21 runs; the short one moves those after it across windows


@pytest.mark.usefixtures("small_windows")
def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((103, 5, 1), np.uint16))
    shuffled = ShuffledRows(np.load(path, mmap_mode="r"), seed=3)
    os.truncate(path, 600)
    with pytest.raises(StepError, match=r"images\.npy has become shorter"):
        shuffled.take(0, 0, np.zeros((103, 5, 1), np.uint16))
