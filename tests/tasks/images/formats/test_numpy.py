import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats.numpy import open_npy, open_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "images.npz", images=IMAGES, other=np.arange(3))
    return tmp_path / "images.npz"


def test_reads_every_value_of_an_archive(npz: Path) -> None:
    assert np.array_equal(open_npz(npz, "images").read(), IMAGES)
    assert open_npz(npz, "other").read().tolist() == [0, 1, 2]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(share: float, npz: Path) -> None:
    content = npz.read_bytes()
    npz.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match=r"images\.npz") as failure:
        open_npz(npz, "images").read()
    assert "\n" not in str(failure.value)


def test_damaged_values_are_refused(npz: Path) -> None:
    content = bytearray(npz.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 40):
        content[place] ^= 0xFF
    npz.write_bytes(content)
    with pytest.raises(StepError, match="cannot be read"):
        open_npz(npz, "images").read()


def test_python_objects_of_an_archive_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", images=np.array([{}, {}]))
    with pytest.raises(StepError, match="must hold rows of numbers"):
        open_npz(tmp_path / "objects.npz", "images")


def test_what_is_missing_is_named(tmp_path: Path, npz: Path) -> None:
    with pytest.raises(StepError, match="absent is missing"):
        open_npz(tmp_path / "absent", "images")
    with pytest.raises(StepError, match="has no array x, expected one of images, other"):
        open_npz(npz, "x")


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


def test_columns_first_in_an_archive_is_refused(npz: Path) -> None:
    np.savez(npz, images=np.asfortranarray(IMAGES))
    with pytest.raises(StepError, match="in C order"):
        open_npz(npz, "images")


def test_a_negative_length_in_an_archive_is_refused(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (-1, 2, 2)}
    with (
        zipfile.ZipFile(tmp_path / "images.npz", "w") as archive,
        archive.open("images.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
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


@pytest.mark.parametrize("name", ["images.npy", "images.npz"])
def test_a_folder_in_place_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    open_file = open_npy if name.endswith(".npy") else lambda path: open_npz(path, "images")
    with pytest.raises(StepError, match=rf"{name} cannot be read as an \.np[yz] file: .*directory"):
        open_file(tmp_path / name)


def test_only_arrays_of_an_archive_are_offered(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive:
        archive.writestr("images", b"no array")
    with pytest.raises(StepError, match="has no array images, expected one of none"):
        open_npz(tmp_path / "images.npz", "images")
