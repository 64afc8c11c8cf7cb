import hashlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
        assert attributes["schema_name"] == "autoencoder-flow/codes"
        assert attributes["schema_version"] == 2
        assert list(attributes["models"]) == ["shallow"]
        assert attributes["split"] == "test"
        assert attributes["dataset"] == dataset.name
        assert attributes["dataset_payload_sha256"] == dataset.payload_sha256
        assert json.loads(attributes["class_names"]) == [str(label) for label in range(10)]
        assert tuple(attributes["image_shape"]) == (28, 28)
        assert attributes["scale"] == 255.0
        group = dict(file["shallow"].attrs)
        assert group["fingerprint"] == model.fingerprint
        assert group["encoder_weights_sha256"] == model.encoder_weights_sha256
        assert group["basis"] == model.encoder_weights_sha256
        codes = file["shallow/codes"][...]
        assert group["codes_sha256"] == hashlib.sha256(codes.tobytes()).hexdigest()
        assert group["architecture"] == "784-32-784"
        assert group["validation_loss"] == model.validation_loss


def test_text_is_variable_length_utf8_in_attributes_alone(path: Path) -> None:
    with h5py.File(path) as file:
        for name in ("schema_name", "models", "class_names", "content_sha256"):
            info = h5py.check_string_dtype(file.attrs.get_id(name).dtype)
            assert (info.encoding, info.length) == ("utf-8", None)


def names_written(names: tuple[str, ...], labels: NDArray[Any] | None, folder: Path) -> str | None:
    """The attribute `class_names` of a file of one image."""
    dataset = EXAMPLE_DATASET.model_copy(update={"class_names": names})
    model = ModelCodes(
        example_model(), [CodesBlock(np.ones((1, 32), np.float32), np.ones(1, np.float32))]
    )
    write_codes(folder / "codes.h5", "test", dataset, np.arange(1), labels, [model])
    with h5py.File(folder / "codes.h5") as file:
        text: str | None = file.attrs.get("class_names")
    assert read_codes(folder / "codes.h5", "shallow").split.class_names == (names if text else ())
    return text


LABEL = np.zeros(1, np.uint8)


def test_class_names_of_any_characters_are_json_in_ascii(tmp_path: Path) -> None:
    names = ("Stiefel für Größe 日本", 'a "quoted" \\ name', "", "<\0\n>", "\udcff")
    text = names_written(names, LABEL, tmp_path)
    assert text is not None
    assert text.isascii()
    assert tuple(json.loads(text)) == names


def test_class_names_of_more_than_64_kib_are_left_out(tmp_path: Path) -> None:
    longest = ("x" * (64 * 1024 - 4),)
    assert names_written(longest, LABEL, tmp_path) == json.dumps(list(longest))
    assert names_written((longest[0] + "x",), LABEL, tmp_path) is None


def test_without_labels_there_are_no_class_names(tmp_path: Path) -> None:
    assert names_written(("boot",), None, tmp_path) is None


def test_the_basis_is_that_of_the_record(tmp_path: Path) -> None:
    anchored = example_model().model_copy(update={"basis": "e" * 64})
    block = CodesBlock(np.ones((1, 32), np.float32), np.ones(1, np.float32))
    model = ModelCodes(anchored, [block])
    write_codes(tmp_path / "c.h5", "test", EXAMPLE_DATASET, np.arange(1), None, [model])
    assert read_codes(tmp_path / "c.h5", "shallow").model.basis == "e" * 64


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
    assert read.model.codes_sha256 == hashlib.sha256(codes.tobytes()).hexdigest()


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
