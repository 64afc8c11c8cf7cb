import gzip
import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.images import rows
from tasks.images.digest import rows_sha256
from tasks.images.formats.idx import open_idx
from tasks.images.rows import ArrayRows
from tests.conftest import SAMPLE_FOLDER

IMAGES = SAMPLE_FOLDER / "t10k-images-idx3-ubyte.gz"


def digest(values: NDArray[Any]) -> str:
    return rows_sha256(ArrayRows("values", values))


def test_the_digest_is_that_of_the_uncompressed_file() -> None:
    payload = gzip.decompress(IMAGES.read_bytes())
    assert rows_sha256(open_idx(IMAGES, (3,))) == hashlib.sha256(payload).hexdigest()


def test_it_depends_on_the_shape() -> None:
    values = np.zeros((2, 3, 4), np.uint8)
    assert digest(values) != digest(values.reshape(4, 3, 2))


@pytest.mark.parametrize("dtype", ["<u2", "<f4", "<i8"])
def test_it_depends_on_the_type(dtype: str) -> None:
    values = np.ones((2, 3), np.uint8)
    assert digest(values) != digest(values.astype(dtype))


def test_it_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(2005, dtype=np.uint8)
    header = bytes([0, 0, 8, 1]) + struct.pack(">I", len(values))
    expected = hashlib.sha256(header + values.tobytes()).hexdigest()
    for size in (7, 1000, 10_000):
        monkeypatch.setattr(rows, "BLOCK_BYTES", size)
        assert digest(values) == expected
