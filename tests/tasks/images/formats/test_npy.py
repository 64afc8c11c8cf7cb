from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats.npy import open_npy

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", IMAGES)
    return tmp_path / "images.npy"


def test_reads_every_value_of_a_memory_map(npy: Path) -> None:
    rows = open_npy(npy)
    assert np.array_equal(rows.read(), IMAGES)
    assert all(isinstance(block.base, np.memmap) for block in rows.blocks())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, npy: Path) -> None:
    content = npy.read_bytes()
    npy.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match=r"images\.npy") as failure:
        open_npy(npy).read()
    assert "\n" not in str(failure.value)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(StepError, match="cannot be read as an .npy file"):
        open_npy(tmp_path / "objects.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="absent is missing"):
        open_npy(tmp_path / "absent")


def test_columns_first_is_refused(npy: Path) -> None:
    np.save(npy, np.asfortranarray(IMAGES))
    with pytest.raises(StepError, match="in C order"):
        open_npy(npy)


def test_a_negative_length_is_refused(npy: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (-1, 2, 2)}
    with npy.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(StepError, match=r"images\.npy cannot be read"):
        open_npy(npy)
