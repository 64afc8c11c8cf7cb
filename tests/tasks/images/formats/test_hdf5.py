import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats import hdf5 as hdf5_files
from tasks.images.formats.hdf5 import Hdf5Rows

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset("images", data=IMAGES, chunks=(7, 28, 28), compression="gzip")
        file.create_group("group")
    return tmp_path / "images.h5"


def test_reads_every_value(hdf5: Path) -> None:
    assert np.array_equal(Hdf5Rows(hdf5, "images").read(), IMAGES)


def test_rows_of_a_chunk_are_read_together(hdf5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows_of_a_block, expected in ((20, 14), (1, 7)):
        monkeypatch.setattr("tasks.images.rows.BLOCK_BYTES", rows_of_a_block * 28 * 28)
        lengths = {len(block) for block in Hdf5Rows(hdf5, "images").blocks()}
        assert lengths == {expected, 300 % expected}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, hdf5: Path) -> None:
    content = hdf5.read_bytes()
    hdf5.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match=r"images\.h5") as failure:
        Hdf5Rows(hdf5, "images").read()
    assert "\n" not in str(failure.value)


def test_damaged_values_are_refused(hdf5: Path) -> None:
    content = bytearray(hdf5.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0xFF
    hdf5.write_bytes(content)
    with pytest.raises(StepError, match="cannot be read"):
        Hdf5Rows(hdf5, "images").read()


def test_what_is_missing_is_named(tmp_path: Path, hdf5: Path) -> None:
    with pytest.raises(StepError, match="absent is missing"):
        Hdf5Rows(tmp_path / "absent", "images")
    with pytest.raises(StepError, match="x is not among group, images"):
        Hdf5Rows(hdf5, "x")
    with pytest.raises(StepError, match="is not a dataset"):
        Hdf5Rows(hdf5, "group")


def test_a_dataset_that_was_never_written_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("images", (10**9, 28, 28), "u1", chunks=(1, 28, 28))
    with pytest.raises(StepError, match="more than the file holds"):
        Hdf5Rows(tmp_path / "bomb.h5", "images")


def test_chunks_too_large_for_memory_are_refused(
    hdf5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_files, "MAX_CHUNK_BYTES", 7 * 784 - 1)
    with pytest.raises(StepError, match="has chunks of shape"):
        Hdf5Rows(hdf5, "images")


def add_soft_link(file: h5py.File) -> None:
    file["link"] = h5py.SoftLink("/images")


def add_external_link(file: h5py.File) -> None:
    file["link"] = h5py.ExternalLink("other.h5", "/images")


def add_link_to_group(file: h5py.File) -> None:
    file["group/images"] = file["images"]
    file["link"] = h5py.SoftLink("/group")


@pytest.mark.parametrize(
    ("add", "name"),
    [
        (add_soft_link, "link"),
        (add_external_link, "link"),
        (add_link_to_group, "link/images"),
    ],
)
def test_no_link_is_followed(add: Any, name: str, hdf5: Path) -> None:
    shutil.copy(hdf5, hdf5.with_name("other.h5"))
    with h5py.File(hdf5, "a") as file:
        add(file)
    with pytest.raises(StepError, match="is reached by a link"):
        Hdf5Rows(hdf5, name)


def test_values_in_another_file_are_not_read(hdf5: Path) -> None:
    with h5py.File(hdf5, "a") as file:
        layout = h5py.VirtualLayout((300, 28, 28), "u1")
        layout[:] = h5py.VirtualSource("other.h5", "images", (300, 28, 28))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset(
            "external", (300, 28, 28), "u1", external=[("/etc/passwd", 0, 300 * 784)]
        )
    for name in ("virtual", "external"):
        with pytest.raises(StepError, match="has its values in another file"):
            Hdf5Rows(hdf5, name)


def test_chunks_of_parts_of_many_rows_do_not_take_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_files, "CHUNK_ROWS_BYTES", 64)
    monkeypatch.setattr("tasks.images.rows.BLOCK_BYTES", 32)
    images = np.arange(100 * 16, dtype=np.uint8).reshape(100, 4, 4)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(50, 1, 1))
    blocks = list(Hdf5Rows(tmp_path / "images.h5", "images").blocks())
    assert max(block.nbytes for block in blocks) == 64
    assert np.array_equal(np.concatenate(blocks), images)
