import shutil
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats import arrays as array_files
from tasks.images.formats.arrays import open_hdf5, open_npy, open_npz
from tests.conftest import read_all

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "images.npz", images=IMAGES, other=np.arange(3))
    return tmp_path / "images.npz"


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset("images", data=IMAGES, chunks=(7, 28, 28), compression="gzip")
        file.create_group("group")
    return tmp_path / "images.h5"


def read_hdf5(path: Path, name: str = "images") -> Any:
    with ExitStack() as stack:
        return read_all(open_hdf5(path, name, stack))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(share: float, npz: Path, hdf5: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    readers: dict[Path, Callable[[Path], object]] = {
        tmp_path / "images.npy": lambda path: read_all(open_npy(path)),
        npz: lambda path: read_all(open_npz(path, "images")),
        hdf5: read_hdf5,
    }
    for path, read in readers.items():
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(StepError, match=path.name) as failure:
            read(path)
        assert "\n" not in str(failure.value)


def test_damaged_values_are_refused(npz: Path, hdf5: Path) -> None:
    for path in (npz, hdf5):
        content = bytearray(path.read_bytes())
        for place in range(len(content) // 2, len(content) // 2 + 40):
            content[place] ^= 0xFF
        path.write_bytes(content)
    with pytest.raises(StepError, match="cannot be read"):
        read_all(open_npz(npz, "images"))
    with pytest.raises(StepError, match="cannot be read"):
        read_hdf5(hdf5)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", images=np.array([{}, {}]))
    with pytest.raises(StepError, match="cannot be read as an .npy file"):
        open_npy(tmp_path / "objects.npy")
    with pytest.raises(StepError, match="must hold rows of numbers"):
        open_npz(tmp_path / "objects.npz", "images")


def test_names_what_is_missing(tmp_path: Path, npz: Path, hdf5: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(StepError, match="absent is missing"):
        open_npy(absent)
    with pytest.raises(StepError, match="absent is missing"):
        open_npz(absent, "images")
    with pytest.raises(StepError, match="absent is missing"):
        read_hdf5(absent)
    with pytest.raises(StepError, match="has no array x, but images, other"):
        open_npz(npz, "x")
    with pytest.raises(StepError, match="x was not found among group, images"):
        read_hdf5(hdf5, "x")
    with pytest.raises(StepError, match="is no dataset"):
        read_hdf5(hdf5, "group")


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive,
        archive.open("images.npy", "w") as member,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(100))
    with pytest.raises(StepError, match="more than the file can hold"):
        open_npz(tmp_path / "bomb.npz", "images")


def test_a_dataset_that_was_never_written_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("images", (10**9, 28, 28), "u1", chunks=(1, 28, 28))
    with pytest.raises(StepError, match="more than the file holds"):
        read_hdf5(tmp_path / "bomb.h5")


def test_chunks_too_large_for_memory_are_refused(
    hdf5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_files, "MAX_CHUNK_BYTES", 7 * 784 - 1)
    with pytest.raises(StepError, match="has chunks of shape"):
        read_hdf5(hdf5)


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
        read_hdf5(hdf5, name)


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
            read_hdf5(hdf5, name)


def test_columns_first_is_refused(tmp_path: Path) -> None:
    columns = np.asfortranarray(IMAGES)
    np.savez(tmp_path / "columns.npz", images=columns)
    np.save(tmp_path / "columns.npy", columns)
    with pytest.raises(StepError, match="in C order"):
        open_npz(tmp_path / "columns.npz", "images")
    with pytest.raises(StepError, match="in C order"):
        open_npy(tmp_path / "columns.npy")


def test_negative_lengths_are_refused(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (-1, 2, 2)}
    with (tmp_path / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive:
        archive.write(tmp_path / "images.npy", "images.npy")
    with pytest.raises(StepError, match=r"images\.npy cannot be read"):
        open_npy(tmp_path / "images.npy")
    with pytest.raises(StepError, match="must hold rows of numbers"):
        open_npz(tmp_path / "images.npz", "images")


def test_an_encrypted_archive_is_refused(npz: Path) -> None:
    content = bytearray(npz.read_bytes())
    content[6] |= 1  # the flags of the first member, here and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    npz.write_bytes(content)
    with zipfile.ZipFile(npz) as archive:
        name = archive.namelist()[0].removesuffix(".npy")
    with pytest.raises(StepError, match="encrypted"):
        open_npz(npz, name)


def test_chunks_of_parts_of_many_rows_do_not_take_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.images.formats.arrays.CHUNK_ROWS_BYTES", 64)
    monkeypatch.setattr("tasks.images.rows.BLOCK_BYTES", 32)
    images = np.arange(100 * 16, dtype=np.uint8).reshape(100, 4, 4)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(50, 1, 1))
    with ExitStack() as stack:
        blocks = list(open_hdf5(tmp_path / "images.h5", "images", stack).blocks())
    assert max(block.nbytes for block in blocks) == 64
    assert np.array_equal(np.concatenate(blocks), images)
