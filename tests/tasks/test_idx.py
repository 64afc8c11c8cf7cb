import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import StepError
from tasks.idx import idx_sha256, read_idx
from tests.conftest import SAMPLE_FOLDER

IMAGES = SAMPLE_FOLDER / "t10k-images-idx3-ubyte.gz"


def write(path: Path, payload: bytes) -> Path:
    path.write_bytes(gzip.compress(payload))
    return path


def header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def test_reads_every_value_of_a_real_file() -> None:
    payload = gzip.decompress(IMAGES.read_bytes())
    images = read_idx(IMAGES, dimensions=3)
    assert images.shape == (128, 28, 28)
    assert images.tobytes() == payload[16:]


def test_digest_is_that_of_the_uncompressed_file() -> None:
    payload = gzip.decompress(IMAGES.read_bytes())
    assert idx_sha256(read_idx(IMAGES, dimensions=3)) == hashlib.sha256(payload).hexdigest()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_refuses_a_truncated_file(tmp_path: Path, share: float) -> None:
    content = IMAGES.read_bytes()
    path = tmp_path / "images.gz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StepError, match="truncated|starts with nothing"):
        read_idx(path, dimensions=3)


def test_refuses_a_damaged_file(tmp_path: Path) -> None:
    content = bytearray(IMAGES.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(StepError, match=r"truncated or damaged|announces"):
        read_idx(path, dimensions=3)


def test_refuses_a_file_that_is_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(StepError, match="truncated or damaged"):
        read_idx(path, dimensions=3)


def test_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="absent.gz is missing"):
        read_idx(tmp_path / "absent.gz", dimensions=3)


def test_refuses_labels_in_place_of_images(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", header(4) + bytes(4))
    with pytest.raises(StepError, match="starts with 00000801, expected 00000803"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize(
    ("shape", "values", "found"),
    [((2, 3, 3), 17, "holds 17"), ((2, 3, 3), 19, "holds more")],
)
def test_refuses_dimensions_that_disagree_with_the_length(
    tmp_path: Path, shape: tuple[int, ...], values: int, found: str
) -> None:
    path = write(tmp_path / "images.gz", header(*shape) + bytes(values))
    with pytest.raises(StepError, match=f"announces 18 values but {found}"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 2**32 - 1), (0, 28, 28), (10**6, 28, 28)])
def test_refuses_absurd_dimensions_before_allocating(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = write(tmp_path / "images.gz", header(*shape) + bytes(100))
    with pytest.raises(StepError, match="the most that a file of its size can hold"):
        read_idx(path, dimensions=3)


def test_refuses_a_header_that_ends_early(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", header(2, 3, 3)[:-1])
    with pytest.raises(StepError, match="ends within its header"):
        read_idx(path, dimensions=3)


def test_digest_depends_on_the_shape() -> None:
    values = np.zeros((2, 3, 4), np.uint8)
    assert idx_sha256(values) != idx_sha256(values.reshape(4, 3, 2))
