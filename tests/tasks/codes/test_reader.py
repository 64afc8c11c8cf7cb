import fcntl
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.codes import CodesError, open_codes, read_codes
from tasks.codes.reader import sha256_of_file
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tests.conftest import EXAMPLE_DATASET, example_model
from tests.tasks.codes.files import write_random_codes


def test_some_rows_can_be_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    labels = np.arange(300_000) % 7
    codes, mse = write_random_codes(path, 300_000, [2048], code_size=4, labels=labels)
    rows = np.array([0, 5, 65_535, 65_536, 200_000, 299_999])
    read = read_codes(path, "shallow", rows)
    assert read.codes.tobytes() == codes[rows].tobytes()
    assert read.reconstruction_mse.tobytes() == mse[rows].tobytes()
    assert read.labels is not None
    assert read.labels.tolist() == labels[rows].tolist()
    assert read.index.tolist() == rows.tolist()


@pytest.mark.parametrize("rows", [[-1, 2], [0, 3], [2, 1], [1, 1]])
def test_rows_that_the_file_does_not_have_in_this_order_are_refused(
    rows: list[int], tmp_path: Path
) -> None:
    write_random_codes(tmp_path / "codes.h5", 3, [3])
    with pytest.raises(CodesError, match="must rise from row to row, from 0 to 2"):
        read_codes(tmp_path / "codes.h5", "shallow", np.array(rows))


def test_no_rows_are_read_where_none_are_named(tmp_path: Path) -> None:
    write_random_codes(tmp_path / "codes.h5", 3, [3])
    assert read_codes(tmp_path / "codes.h5", "shallow", np.array([], int)).codes.shape == (0, 32)


def test_an_unknown_model_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    write_random_codes(tmp_path / "codes.h5", 3, [3])
    with pytest.raises(CodesError, match="has no model deep, only shallow"):
        read_codes(tmp_path / "codes.h5")


def test_a_file_is_opened_once_for_several_models(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    codes = {name: np.full((3, 2), value, np.float32) for name, value in {"a": 1, "b": 2}.items()}
    errors = np.zeros(3, np.float32)
    models = [
        ModelCodes(example_model(name, 2), [CodesBlock(values, errors)])
        for name, values in codes.items()
    ]
    write_codes(path, "test", EXAMPLE_DATASET, np.arange(3), None, models)
    with open_codes(str(path)) as file:
        path.unlink()  # what was opened is what is read
        assert file.split.models == ("a", "b")
        assert np.array_equal(file.read("a").codes, codes["a"])
        assert np.array_equal(file.read("b", np.array([1])).codes, codes["b"][1:2])
        assert file.read("a").labels is None


def test_a_file_is_read_where_locks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on read-only and network mounts: HDF5's own lock fails where another program has one."""
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    path = tmp_path / "codes.h5"
    write_random_codes(path, 3, [3])
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="unable to lock file"):
            h5py.File(path, "r", locking=True)
        assert len(read_codes(path, "shallow").codes) == 3


def test_a_file_that_was_checked_before_is_compared_with_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "codes.h5"
    codes, _ = write_random_codes(path, 3, [3])
    with open_codes(path, sha256_of_file(path)) as file:
        assert np.array_equal(file.read("shallow").codes, codes)
    with (
        pytest.raises(CodesError, match="has SHA-256 .*, expected 000000000000"),
        open_codes(path, "0" * 64),
    ):
        pass
