import os
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.formats.numpy import open_npy, open_npy_array, open_npz_array
from tasks.images.rows import Rows


def open_npz(path: Path, name: str) -> Rows:
    return open_npz_array(path, name).rows()


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
    with pytest.raises(StepError, match="holds Python objects"):
        open_npz(tmp_path / "objects.npz", "images")


def test_what_is_missing_is_named(tmp_path: Path, npz: Path) -> None:
    with pytest.raises(StepError, match="absent is missing"):
        open_npz(tmp_path / "absent", "images")
    with pytest.raises(StepError, match=r"has no array x, .* images \(300x28x28\), other \(3\)"):
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


def test_fortran_order_in_an_archive_is_read_for_its_own_axes(npz: Path) -> None:
    np.savez_compressed(npz, images=np.asfortranarray(IMAGES))
    array = open_npz_array(npz, "images")
    assert array.shape == IMAGES.shape
    for _ in range(2):  # they can be read again
        assert np.array_equal(array.rows().read(), IMAGES)
    assert np.array_equal(array.rows(last=True).read(), np.moveaxis(IMAGES, -1, 0))


def test_an_archive_that_has_no_room_to_be_unpacked_names_the_folder(
    npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(npz, images=np.asfortranarray(IMAGES))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StepError, match=r"has no room for its 235200 bytes: set TMPDIR"):
        open_npz(npz, "images").read()


def test_a_negative_length_in_an_archive_is_refused(tmp_path: Path) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (-1, 2, 2)}
    with (
        zipfile.ZipFile(tmp_path / "images.npz", "w") as archive,
        archive.open("images.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(StepError, match=r"its header says the shape \(-1, 2, 2\)"):
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


def test_reads_every_value_of_a_file(npy: Path) -> None:
    assert np.array_equal(open_npy(npy).read(), IMAGES)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("few", [False, True], ids=["in one piece", "in pieces"])
def test_rows_are_along_the_first_or_the_last_axis_in_any_order(
    order: Literal["C", "F"], last: bool, few: bool, npy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if few:
        monkeypatch.setattr("tasks.images.arrays.views.COLUMN_BYTES", 30_000)
    np.save(npy, np.asarray(IMAGES, ">u2", order=order))
    rows = open_npy_array(npy).rows(last)
    assert np.array_equal(rows.read(), np.moveaxis(IMAGES, -1, 0) if last else IMAGES)
    if few and last != (order == "F"):  # the file holds rows side by side
        assert max(block.nbytes for block in rows.blocks()) <= 30_000


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_truncated_while_it_is_read_is_refused(
    order: Literal["C", "F"], npy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory map would end the process with a bus error."""
    monkeypatch.setattr("tasks.images.rows.BLOCK_BYTES", 100 * 784)
    monkeypatch.setattr("tasks.images.arrays.views.COLUMN_BYTES", 100 * 784)
    np.save(npy, np.asarray(IMAGES, order=order))
    blocks = open_npy(npy).blocks()
    next(blocks)
    os.truncate(npy, 20_000)
    with pytest.raises(StepError, match=r"images\.npy is truncated"):
        list(blocks)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, npy: Path) -> None:
    content = npy.read_bytes()
    npy.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match=r"images\.npy") as failure:
        open_npy(npy).read()
    assert "\n" not in str(failure.value)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(StepError, match="holds Python objects, which could run code"):
        open_npy(tmp_path / "objects.npy")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="absent is missing"):
        open_npy(tmp_path / "absent")


def test_records_and_single_values_are_refused(npy: Path) -> None:
    np.save(npy, np.zeros(3, [("image", "u1", (2, 2)), ("label", "u1")]))
    with pytest.raises(StepError, match="holds records of image, label: save each as an array"):
        open_npy(npy)
    np.save(npy, np.float32(3))
    with pytest.raises(StepError, match="holds a single value"):
        open_npy(npy)


def test_a_second_array_in_one_file_is_noticed(npy: Path) -> None:
    with npy.open("ab") as file:
        np.save(file, IMAGES)
    with pytest.raises(StepError, match="holds more than its header says"):
        open_npy(npy).read()


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


@pytest.mark.parametrize(
    "header",
    [
        *(b"{'descr'('", b"((((((((((", b"{[]: 1}", b"\xff\xfe\x00~~~~~~~"),
        *(b"-" * 9900 + b"1", b"9" * 9900, b"[9, " * 2000),
    ],
)
def test_a_damaged_header_is_refused_in_one_line(header: bytes, tmp_path: Path) -> None:
    """NumPy reads it as Python text, with parsers that raise errors of many types."""
    path = tmp_path / "images.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(StepError, match=r"images\.npy cannot be read as an \.npy file") as failure:
        open_npy(path)
    assert str(failure.value).isprintable()
    assert len(str(failure.value)) < 600
