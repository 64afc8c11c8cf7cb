import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.formats.idx import find_idx_files, open_idx, open_idx_folder
from tasks.images.rows import LeftOut
from tests.conftest import SAMPLE_FOLDER

IMAGES = SAMPLE_FOLDER / "t10k-images-idx3-ubyte.gz"


def write(path: Path, payload: bytes) -> Path:
    path.write_bytes(gzip.compress(payload))
    return path


def header(*shape: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def read_idx(path: Path, dimensions: tuple[int, ...] = (3,)) -> NDArray[Any]:
    return open_idx(path, dimensions).read()


def test_reads_every_value_of_a_real_file(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = gzip.decompress(IMAGES.read_bytes())
    monkeypatch.setattr(rows, "BLOCK_BYTES", 50 * 784)
    images = read_idx(IMAGES)
    assert images.shape == (128, 28, 28)
    assert images.tobytes() == payload[16:]


def test_reads_a_file_that_is_not_compressed(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.decompress(IMAGES.read_bytes()))
    assert np.array_equal(read_idx(path), read_idx(IMAGES))


@pytest.mark.parametrize(("kind", "dtype"), [(11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_reads_larger_types_the_right_way_round(tmp_path: Path, kind: int, dtype: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = write(tmp_path / "images.gz", header(2, 3, 4, kind=kind) + values.tobytes())
    assert np.array_equal(read_idx(path), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_refuses_a_truncated_file(tmp_path: Path, share: float) -> None:
    content = IMAGES.read_bytes()
    path = tmp_path / "images.gz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match="cannot be read as an IDX file|starts with nothing"):
        read_idx(path)


def test_refuses_a_damaged_file(tmp_path: Path) -> None:
    content = bytearray(IMAGES.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(StepError, match=r"cannot be read as|announces|holds more"):
        read_idx(path)


def test_refuses_a_file_that_is_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(StepError, match="starts with 3c68746d, expected an IDX header"):
        read_idx(path)


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="absent.gz is missing"):
        read_idx(tmp_path / "absent.gz")


def test_refuses_labels_in_place_of_images(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", header(4) + bytes(4))
    with pytest.raises(StepError, match="starts with 00000801, expected .* 3 dim"):
        read_idx(path)


@pytest.mark.parametrize(("values", "found"), [(17, "is truncated"), (19, "holds more than")])
def test_refuses_dimensions_that_disagree_with_the_length(
    tmp_path: Path, values: int, found: str
) -> None:
    path = write(tmp_path / "images.gz", header(2, 3, 3) + bytes(values))
    with pytest.raises(StepError, match=found):
        read_idx(path)


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (10**6, 28, 28)])
def test_refuses_absurd_dimensions_before_allocating(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = write(tmp_path / "images.gz", header(*shape) + bytes(100))
    with pytest.raises(StepError, match="the most that a file of its size can hold"):
        read_idx(path)


def test_refuses_a_header_that_ends_early(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", header(2, 3, 3)[:-1])
    with pytest.raises(StepError, match="ends within its header"):
        read_idx(path)


def test_a_folder_needs_only_training_images(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="absent is not a folder"):
        open_idx_folder(tmp_path / "absent")
    with pytest.raises(StepError, match=r"train-images-idx3-ubyte\.gz is missing"):
        open_idx_folder(tmp_path)
    write(tmp_path / "train-images-idx3-ubyte.gz", header(2, 3, 3) + bytes(18))
    raw = open_idx_folder(tmp_path)
    assert raw.train.images.shape == (2, 3, 3)
    assert raw.train.labels is None
    assert raw.test is None


@pytest.mark.parametrize("name", ["images.gz", "images"])
@pytest.mark.parametrize("packed", [False, True])
def test_whether_a_file_is_gzipped_is_told_by_its_content(
    name: str, packed: bool, tmp_path: Path
) -> None:
    """Browsers unpack files and leave `.gz` in their names."""
    payload = gzip.decompress(IMAGES.read_bytes())
    (tmp_path / name).write_bytes(gzip.compress(payload) if packed else payload)
    assert np.array_equal(read_idx(tmp_path / name), read_idx(IMAGES))


def place(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (2, 3, 3) if "images" in name else (2,)
        path.write_bytes(header(*shape) + bytes(int(np.prod(shape))))


def found(folder: Path, prefix: str | None = None) -> dict[str, str]:
    files = find_idx_files(folder, prefix).files
    return {part: str(path.relative_to(folder)) for part, path in files.items()}


@pytest.mark.parametrize(
    "names",
    [
        *[
            tuple(f"{split}-{part}" for split in ("train", "t10k") for part in parts)
            for parts in (
                ("images-idx3-ubyte", "labels-idx1-ubyte"),
                ("images.idx3-ubyte", "labels.idx1-ubyte"),
                ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"),
                ("images.idx3-ubyte.gz", "labels.idx1-ubyte.gz"),
            )
        ],
        tuple(
            f"emnist-letters-{split}-{part}-ubyte.gz"
            for split in ("train", "test")
            for part in ("images-idx3", "labels-idx1")
        ),
        (
            *("qmnist-train-images-idx3-ubyte.gz", "qmnist-train-labels-idx2-int.gz"),
            *("qmnist-test-images-idx3-ubyte.gz", "qmnist-test-labels-idx2-int.gz"),
        ),
        tuple(
            f"{name}/{name}"  # as archives of Kaggle unpack
            for name in (
                *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
                *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
            )
        ),
        (
            *("gzip/train-images-idx3-ubyte", "gzip/train-labels-idx1-ubyte"),
            *("gzip/test-images-idx3-ubyte", "gzip/test-labels-idx1-ubyte"),
        ),
    ],
    ids=lambda names: names[0],
)
def test_the_usual_names_of_files_are_known(names: tuple[str, ...], tmp_path: Path) -> None:
    place(tmp_path, *names)
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    assert found(tmp_path) == dict(zip(parts, names, strict=True))
    raw = open_idx_folder(tmp_path)
    assert raw.test is not None
    assert raw.train.labels is not None


def test_one_set_of_several_is_chosen_by_what_its_names_begin_with(tmp_path: Path) -> None:
    for name in ("balanced", "letters"):
        place(tmp_path, f"emnist-{name}-train-images-idx3-ubyte")
    with pytest.raises(
        StepError, match="has the sets emnist-balanced, emnist-letters: choose with --source.idx-p"
    ):
        found(tmp_path)
    for prefix in ("emnist-letters", "emnist-letters-"):
        names = {"train_images": "emnist-letters-train-images-idx3-ubyte"}
        assert found(tmp_path, prefix) == names
    with pytest.raises(StepError, match="emnist-balanced, emnist-letters: none of emnist-digits"):
        found(tmp_path, "emnist-digits")


def test_what_is_there_and_not_used_is_named(tmp_path: Path) -> None:
    place(tmp_path, "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", ".hidden")
    place(tmp_path, "t10k-labels-idx1-ubyte", "validation-images-idx3-ubyte", "more/README")
    folder = find_idx_files(tmp_path)
    assert folder.files == {"train_images": tmp_path / "train-images-idx3-ubyte"}
    assert list(folder.left_out) == [
        LeftOut("not used", name)
        for name in (
            *("more/README", "t10k-labels-idx1-ubyte"),
            *("train-images-idx3-ubyte.gz", "validation-images-idx3-ubyte"),
        )
    ]
