import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.core.errors import StepError, TransientError
from tasks.images.formats import hdf5 as hdf5_files
from tasks.images.formats.hdf5 import Hdf5Rows, open_hdf5_array, open_hdf5_file

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


def test_rows_along_the_last_axis_are_read_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.images.rows.BLOCK_BYTES", 20 * 784)
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=IMAGES.transpose(1, 2, 0), chunks=(28, 28, 7))
    rows = open_hdf5_array(path, "images").rows(last=True)
    assert {len(block) for block in rows.blocks()} == {14, 300 % 14}
    assert np.array_equal(rows.read(), IMAGES)


def test_arrays_of_matlab_have_the_axes_of_matlab(tmp_path: Path) -> None:
    """MATLAB's (28, 28, 300) is (300, 28, 28) in the file, each image transposed."""
    path = tmp_path / "images.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = IMAGES.transpose(0, 2, 1)
        file["labels"] = np.arange(300.0)[np.newaxis]
        file["names"] = np.zeros((3, 1), "u8")
        file["#refs#/a"] = np.zeros(3)
        for name, matlab_class in (("images", "uint8"), ("labels", "double"), ("names", "cell")):
            file[name].attrs["MATLAB_class"] = np.bytes_(matlab_class)
    assert open_hdf5_file(path).shapes == {
        "images": (28, 28, 300),
        "labels": (300, 1),
        "names": (1, 3),
    }
    array = open_hdf5_array(path, "images")
    assert array.shape == (28, 28, 300)
    assert array.is_matlab
    assert np.array_equal(array.rows(last=True).read(), IMAGES)
    labels = open_hdf5_array(path, "labels").rows().read()
    assert np.array_equal(labels, np.arange(300.0)[:, np.newaxis])
    with pytest.raises(StepError, match="is of MATLAB's class cell, expected a numeric array"):
        open_hdf5_array(path, "names")


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f2", "f8", ">i8"])
def test_numbers_of_any_size_and_order_are_read(dtype: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["images"] = IMAGES.astype(dtype)
    rows = Hdf5Rows(tmp_path / "images.h5", "images")
    assert rows.dtype == dtype
    assert np.array_equal(rows.read(), IMAGES)


def test_text_of_variable_length_is_read_as_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file.create_dataset("labels", data=["boot", "épée"], dtype=h5py.string_dtype())
    assert open_hdf5_array(tmp_path / "labels.h5", "labels").rows().read().tolist() == [
        "boot",
        "épée",
    ]


@pytest.mark.parametrize("size", [-16, 0], ids=["endless", "refused"])
def test_damaged_text_is_refused_although_hdf5_may_search_it_for_ever(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_files, "TEXT_SECONDS", 2)
    path = tmp_path / "labels.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", data=["boot", "coat"], dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 24  # the length of the first text
    content[place : place + 8] = size.to_bytes(8, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(StepError, match=r"labels\.h5:labels is text that .*read.*damaged: replace"):
        open_hdf5_array(path, "labels")


def test_compound_values_and_references_are_refused_by_name(hdf5: Path) -> None:
    with h5py.File(hdf5, "a") as file:
        file["records"] = np.zeros(3, [("image", "u1", (2, 2)), ("label", "u1")])
        file["references"] = np.array([file["images"].ref], h5py.ref_dtype)
        file.create_dataset("ragged", (3,), h5py.vlen_dtype(float))
    with pytest.raises(StepError, match="records holds compound values of image, label: store"):
        open_hdf5_array(hdf5, "records")
    for name in ("references", "ragged"):
        with pytest.raises(StepError, match=f"{name} holds object, expected numbers or text"):
            open_hdf5_array(hdf5, name)


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 28, 28))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)  # written without it, as it is not here
        space = h5py.h5s.create_simple((3, 28, 28))
        h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, plist)
    with pytest.raises(
        StepError, match=r"filter 32015 \(Zstandard\), which is not installed: set HDF5_PLUGIN_PATH"
    ):
        open_hdf5_array(path, "images")


def test_a_file_that_is_open_in_its_writer_is_tried_again(hdf5: Path) -> None:
    script = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(hdf5)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        with pytest.raises(TransientError, match="is open in a program .*HDF5_USE_FILE_LOCKING"):
            open_hdf5_file(hdf5)
        writer.communicate(b"\n")
    assert "images" in open_hdf5_file(hdf5).shapes


def test_a_file_whose_writer_was_killed_names_the_way_out(tmp_path: Path) -> None:
    script = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "w", libver="latest")
file["images"] = [[[1, 2]]]
file.swmr_mode = True
os._exit(1)
"""
    path = tmp_path / "images.h5"
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    with pytest.raises(TransientError, match="or was when that program was killed: .* h5clear -s"):
        open_hdf5_file(path)


def test_no_line_has_an_error_number(hdf5: Path) -> None:
    hdf5.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(StepError) as failure:
        open_hdf5_file(hdf5)
    assert str(failure.value).startswith(f"{hdf5} cannot be read as an HDF5 file (")
    assert "errno" not in str(failure.value).lower()
    assert str(failure.value).count(str(hdf5)) == 1


def test_names_that_cannot_be_shown_are_escaped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["labels\x7f"] = np.zeros(3)
    with pytest.raises(StepError, match=r"labels is not among labels\\x7f") as failure:
        Hdf5Rows(tmp_path / "images.h5", "labels")
    assert str(failure.value).isprintable()
