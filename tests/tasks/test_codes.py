import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.codes import (
    CHUNK_BYTES,
    CodesBlock,
    ModelCodes,
    read_codes,
    verify_codes,
    write_codes,
)
from tasks.encoding import encode_split
from tasks.errors import StepError
from tasks.models import ModelRecord
from tasks.records import DatasetRecord


@pytest.fixture
def path(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Path:
    path = root / "test.h5"
    encode_split("test", dataset, [model], path, root)
    return path


def write(path: Path, rows: int, model: ModelRecord, dataset: DatasetRecord) -> None:
    generator = np.random.default_rng(0)
    codes = generator.random((rows, 32), np.float32)
    mse = generator.random(rows, np.float32)
    blocks = [CodesBlock(codes[i : i + 1000], mse[i : i + 1000]) for i in range(0, rows, 1000)]
    labels = np.arange(rows, dtype=np.int64)
    write_codes(path, "test", dataset, labels, [ModelCodes(model, blocks)])


def write_block(
    path: Path, codes: np.ndarray, rows: int, model: ModelRecord, dataset: DatasetRecord
) -> None:
    """Write one block of codes as a split of that many rows."""
    blocks = [CodesBlock(codes, np.zeros(len(codes), np.float32))]
    write_codes(path, "test", dataset, np.zeros(rows, np.int64), [ModelCodes(model, blocks)])


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
    other = tmp_path / "elsewhere" / "other.h5"
    encode_split("test", dataset, [model], other, root)
    assert hashlib.sha256(other.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("rows", [1, 3000, 20_000])
def test_round_trip_in_chunks(
    tmp_path: Path, rows: int, model: ModelRecord, dataset: DatasetRecord
) -> None:
    write(tmp_path / "codes.h5", rows, model, dataset)
    codes = read_codes(tmp_path / "codes.h5", "shallow")
    generator = np.random.default_rng(0)
    assert np.array_equal(codes.codes, generator.random((rows, 32), np.float32))
    assert np.array_equal(codes.reconstruction_mse, generator.random(rows, np.float32))
    assert np.array_equal(codes.labels, np.arange(rows))
    with h5py.File(tmp_path / "codes.h5") as file:
        for dataset_ in (file["index"], file["shallow/codes"]):
            chunk_bytes = np.prod(dataset_.chunks) * dataset_.dtype.itemsize
            assert chunk_bytes <= CHUNK_BYTES
            if dataset_.nbytes < 64 * 1024:
                assert dataset_.chunks == dataset_.shape


def test_missing_rows_are_noticed(
    tmp_path: Path, model: ModelRecord, dataset: DatasetRecord
) -> None:
    codes = np.zeros((3, 32), np.float32)
    with pytest.raises(StepError, match="encoded 3 images, expected 4"):
        write_block(tmp_path / "codes.h5", codes, 4, model, dataset)
    assert not list(tmp_path.glob("*.h5"))


def test_values_that_are_not_finite_never_get_their_name(
    tmp_path: Path, model: ModelRecord, dataset: DatasetRecord
) -> None:
    codes = np.zeros((3, 32), np.float32)
    codes[1, 2] = np.nan
    with pytest.raises(StepError, match="not finite"):
        write_block(tmp_path / "codes.h5", codes, 3, model, dataset)
    assert not list(tmp_path.glob("*.h5"))


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StepError, match="not a readable codes file"):
        verify_codes(path)


def test_an_unknown_model_is_named(path: Path) -> None:
    with pytest.raises(StepError, match="no readable codes of deep"):
        read_codes(path, "deep")
