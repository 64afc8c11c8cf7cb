import pickle
from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats.cifar import cifar_paths, open_cifar
from tests.conftest import read_all

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10


def records(rows: slice, *labels: np.ndarray) -> bytes:
    """Records as the authors describe them: labels, then the red, green and blue plane."""
    planes = IMAGES[rows].transpose(0, 3, 1, 2).reshape(len(IMAGES[rows]), -1)
    return np.column_stack([*(each[rows] for each in labels), planes]).tobytes()


@pytest.fixture
def cifar_10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for batch in range(5):
        rows = slice(2 * batch, 2 * batch + 2)
        (folder / f"data_batch_{batch + 1}.bin").write_bytes(records(rows, LABELS))
    (folder / "test_batch.bin").write_bytes(records(slice(10, 12), LABELS))
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n\n")
    (folder / "readme.html").write_text("<html>")
    return folder


def test_cifar_10_is_read_in_the_order_of_its_batches(cifar_10: Path) -> None:
    for folder in (cifar_10, cifar_10.parent):  # a folder in a folder, too
        raw = open_cifar(folder)
        assert np.array_equal(raw.train.images.read(), IMAGES[:10])
        assert np.array_equal(read_all(raw.train.labels), LABELS[:10])
        assert raw.test is not None
        assert np.array_equal(raw.test.images.read(), IMAGES[10:])
        assert read_all(raw.test.labels).tolist() == [0, 1]
        assert raw.class_names == ("airplane", "automobile", "bird")
        assert [kind.what for kind in raw.left_out] == ["readme.html"]
    assert raw.train.images.row_name(3).endswith("row 1 of " + str(cifar_10 / "data_batch_2.bin"))
    assert len(cifar_paths(cifar_10)) == 7


def test_cifar_100_has_fine_or_coarse_labels(tmp_path: Path) -> None:
    fine = LABELS + 90
    (tmp_path / "train.bin").write_bytes(records(slice(0, 9), LABELS, fine))
    (tmp_path / "test.bin").write_bytes(records(slice(9, 12), LABELS, fine))
    (tmp_path / "fine_label_names.txt").write_text("apple\nbear\n")
    (tmp_path / "coarse_label_names.txt").write_text("fish\nfruit\n")
    raw = open_cifar(tmp_path)
    assert np.array_equal(raw.train.images.read(), IMAGES[:9])
    assert (read_all(raw.train.labels).tolist(), raw.class_names) == (
        fine[:9].tolist(),
        ("apple", "bear"),
    )
    raw = open_cifar(tmp_path, "coarse")
    assert (read_all(raw.train.labels).tolist(), raw.class_names) == (
        LABELS[:9].tolist(),
        ("fish", "fruit"),
    )


def test_files_that_lack_are_named(cifar_10: Path) -> None:
    (cifar_10 / "data_batch_3.bin").unlink()
    (cifar_10 / "test_batch.bin").unlink()
    with pytest.raises(StepError, match=r"lacks data_batch_3\.bin, test_batch\.bin: place all"):
        open_cifar(cifar_10)


def test_a_truncated_file_is_refused(cifar_10: Path) -> None:
    path = cifar_10 / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StepError, match=r"has 6145 bytes, expected a multiple of 3073"):
        open_cifar(cifar_10)


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": b""}))
    with pytest.raises(StepError, match="pickles are code: download the binary version"):
        open_cifar(tmp_path)


def test_another_folder_or_the_archive_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"has neither data_batch_1\.bin nor train\.bin"):
        open_cifar(tmp_path)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    with pytest.raises(StepError, match="is not a folder: unpack cifar-10-binary.tar.gz with tar"):
        open_cifar(tmp_path / "cifar-10-binary.tar.gz")
