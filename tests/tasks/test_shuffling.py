import numpy as np
import pytest
from numpy.typing import NDArray

from tasks import shuffling
from tasks.rows import Images
from tasks.shuffling import ShuffledImages, shuffled_rows, take_rows


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    order = shuffled_rows(1000, 784, 1, 2)
    assert sorted(order) == list(range(1000))
    shuffled_rows.cache_clear()
    assert np.array_equal(shuffled_rows(1000, 784, 1, 2), order)
    others = [shuffled_rows(1000, 784, *position) for position in ((1, 3), (2, 2), (2, 1))]
    assert all(not np.array_equal(order, other) for other in others)


def test_the_order_of_a_large_set_reads_long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 200 rows, each made of 20 whole runs of 10 neighbours; 1003 rows in all."""
    monkeypatch.setattr(shuffling, "SHUFFLE_BYTES", 2000)
    monkeypatch.setattr(shuffling, "RUN_BYTES", 100)
    order = shuffled_rows(1003, 10, 0, 0)
    assert sorted(order) == list(range(1003))
    shuffled_rows.cache_clear()
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
@pytest.mark.parametrize("rows", [19, 20, 21, 103])
@pytest.mark.parametrize("capacity", [1, 7, 20, 50, 200])
def test_images_come_in_the_order_of_their_epochs(rows: int, capacity: int) -> None:
    images = np.arange(rows * 5, dtype=np.uint16).reshape(rows, 5, 1)
    shuffled = ShuffledImages(images, seed=3)
    for epoch in (0, 1, 0):
        found = []
        for first in range(0, rows, capacity):
            out = np.zeros((capacity, 5, 1), np.uint16)
            taken = shuffled.take(epoch, first, out)
            assert not out[taken:].any()
            found.append(out[:taken])
        assert np.array_equal(np.concatenate(found), images[shuffled_rows(rows, 10, 3, epoch)])


@pytest.mark.usefixtures("small_windows")
def test_each_image_of_a_large_set_is_read_once_an_epoch_with_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.arange(103 * 5, dtype=np.uint16).reshape(103, 5, 1)
    read: list[np.ndarray] = []

    def spy(source: Images, rows: NDArray[np.int64], out: Images) -> None:
        if source is images:
            read.append(rows)
        take_rows(source, rows, out)

    monkeypatch.setattr(shuffling, "take_rows", spy)
    shuffled = ShuffledImages(images, seed=3)
    for first in range(0, 103, 7):
        shuffled.take(0, first, np.zeros((7, 5, 1), np.uint16))
    assert sorted(np.concatenate(read)) == list(range(103))
    assert len(read) == 6
    for rows in read:
        jumps = np.count_nonzero(np.diff(rows) != 1)
        assert (np.diff(rows) > 0).all()
        assert jumps <= 4
