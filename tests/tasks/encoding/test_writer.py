import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.codes.contract import CHUNK_BYTES
from tasks.codes.errors import CodesError
from tasks.codes.reader import read_codes
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.encoding.encoder import encode_split
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.models.store import ModelRecord
from tests.conftest import EXAMPLE_DATASET, example_model
from tests.tasks.codes.files import write_random_codes


@pytest.fixture
def path(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Path:
    path = root / "test.h5"
    encode_split("test", dataset, [model], path, root)
    return path


def test_layout_is_that_of_the_contract(path: Path) -> None:
    with h5py.File(path) as file:
        assert set(file) == {"index", "labels", "shallow"}
        assert set(file["shallow"]) == {"codes", "reconstruction_mse"}
        for name, shape, dtype in (
            ("index", (128,), np.int64),
            ("labels", (128,), np.int64),
            ("shallow/codes", (128, 32), np.float32),
            ("shallow/reconstruction_mse", (128,), np.float32),
        ):
            dataset = file[name]
            assert (dataset.shape, dataset.dtype) == (shape, dtype)
            assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == (
                "gzip",
                True,
                True,
            )
        assert np.array_equal(file["index"], np.arange(128))


def test_attributes_say_where_the_codes_come_from(
    path: Path, model: ModelRecord, dataset: DatasetRecord
) -> None:
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert attributes["schema_name"] == b"autoencoder-flow/codes"
        assert attributes["schema_version"] == 1
        assert list(attributes["models"]) == [b"shallow"]
        assert attributes["split"] == b"test"
        assert attributes["dataset"] == dataset.name.encode()
        assert attributes["dataset_payload_sha256"] == dataset.payload_sha256.encode()
        assert tuple(attributes["image_shape"]) == (28, 28)
        assert attributes["scale"] == 255.0
        group = dict(file["shallow"].attrs)
        assert group["fingerprint"] == model.fingerprint.encode()
        assert group["encoder_weights_sha256"] == model.encoder_weights_sha256.encode()
        assert group["architecture"] == b"784-32-784"
        assert group["validation_loss"] == model.validation_loss


def test_text_is_fixed_length_utf8(path: Path) -> None:
    with h5py.File(path) as file:
        for name in ("schema_name", "models", "split"):
            info = h5py.check_string_dtype(file.attrs.get_id(name).dtype)
            assert info.encoding == "utf-8"
            assert info.length is not None


def test_identical_inputs_give_identical_bytes(
    path: Path, model: ModelRecord, dataset: DatasetRecord, root: Path, tmp_path: Path
) -> None:
    other_root = tmp_path / "elsewhere"
    shutil.copytree(root, other_root)
    other = other_root / "other.h5"
    encode_split("test", dataset, [model], other, other_root)
    assert hashlib.sha256(other.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 9000),
    code_size=st.integers(1, 80),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    labelled=st.booleans(),
)
def test_what_is_written_is_read(
    rows: int, code_size: int, sizes: list[int], labelled: bool
) -> None:
    labels = np.arange(rows)[::-1].astype(np.int64) if labelled else None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "codes.h5"
        codes, mse = write_random_codes(path, rows, sizes, code_size, labels)
        read = read_codes(path, "shallow")
    assert read.codes.tobytes() == codes.tobytes()
    assert read.reconstruction_mse.tobytes() == mse.tobytes()
    assert np.array_equal(read.index, np.arange(rows))
    np.testing.assert_array_equal(read.labels, labels)
    assert read.split.dataset_payload_sha256 == EXAMPLE_DATASET.payload_sha256
    assert read.model.fingerprint == "f" * 64
    assert read.model.seed == 0


@pytest.mark.parametrize("rows", [1, 3000, 20_000, 300_000])
def test_the_bytes_do_not_depend_on_the_blocks(tmp_path: Path, rows: int) -> None:
    digests = set()
    for number, sizes in enumerate(([2048], [rows], [8191, 1, 5000])):
        path = tmp_path / f"{number}.h5"
        write_random_codes(path, rows, sizes, code_size=4)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("rows", [1, 10_000, 300_000])
def test_chunks_are_small_but_not_too_small(tmp_path: Path, rows: int) -> None:
    write_random_codes(
        tmp_path / "codes.h5", rows, [2048], code_size=4, labels=np.zeros(rows, np.int64)
    )
    with h5py.File(tmp_path / "codes.h5") as file:
        for dataset in (file["index"], file["labels"], *file["shallow"].values()):
            assert np.prod(dataset.chunks) * dataset.dtype.itemsize <= CHUNK_BYTES
            if dataset.nbytes < 64 * 1024:
                assert dataset.chunks == dataset.shape


@pytest.mark.parametrize("announced", [3, 5])
def test_another_number_of_rows_is_noticed(tmp_path: Path, announced: int) -> None:
    with pytest.raises(StepError, match=f"encoded 4 images, expected {announced}"):
        write_random_codes(tmp_path / "codes.h5", 4, [4], announced=announced)
    assert not list(tmp_path.iterdir())


def test_values_that_are_not_finite_never_get_their_name(tmp_path: Path) -> None:
    codes = np.zeros((3, 32), np.float32)
    codes[1, 2] = np.nan
    model = ModelCodes(example_model(), [CodesBlock(codes, np.zeros(3, np.float32))])
    with pytest.raises(CodesError, match="not finite"):
        write_codes(tmp_path / "codes.h5", "test", EXAMPLE_DATASET, np.arange(3), None, [model])
    assert not list(tmp_path.iterdir())
