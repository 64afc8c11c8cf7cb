import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.codes import CodesError, PublishedRun, open_published
from tasks.codes.encoder import DenseLayer, Encoder, read_encoder
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.images.store import open_images
from tasks.models.store import ModelRecord
from tasks.runs.manifest import read_manifest
from tests.conftest import complete, sample_images


@pytest.fixture
def run(model: ModelRecord, dataset: DatasetRecord, root: Path) -> PublishedRun:
    """A published run with real models and codes."""
    complete("run-1", model, dataset, root)
    return open_published(dataset.name, root)


@pytest.fixture
def encoder(run: PublishedRun) -> Encoder:
    return run.encoder("shallow")


def small(dtype: str, scale: float) -> Encoder:
    """An encoder of images with two pixels; the code is their sum and their difference."""
    kernel = np.array([[1, 1], [1, -1]], np.float32)
    layer = DenseLayer(kernel, np.zeros(2, np.float32), "linear")
    return Encoder("small", "f", "e", "b", (1, 2), dtype, scale, (layer,))


def test_the_codes_are_those_published(
    run: PublishedRun, encoder: Encoder, dataset: DatasetRecord, root: Path
) -> None:
    for split in ("train", "test"):
        expected = run.codes(split, "shallow").codes
        found = encoder(open_images(dataset, split, root))
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_encoder_says_what_it_takes_and_whose_codes_it_gives(
    run: PublishedRun, encoder: Encoder
) -> None:
    assert (encoder.image_shape, encoder.pixels, encoder.code_size) == ((28, 28), 784, 32)
    assert (encoder.model, encoder.dtype, encoder.scale) == ("shallow", "uint8", 255.0)
    codes = run.codes("test", "shallow").model
    assert encoder.encoder_weights_sha256 == codes.encoder_weights_sha256
    assert encoder.fingerprint == codes.fingerprint
    assert encoder.basis == codes.encoder_weights_sha256, "the model defines its own basis"


def test_flat_images_and_images_in_rows_and_columns_give_the_same(encoder: Encoder) -> None:
    _, images = sample_images()
    assert np.array_equal(encoder(images), encoder(images.reshape(len(images), -1)))
    assert encoder(images[:0]).shape == (0, 32)


def test_a_code_does_not_depend_on_the_block_it_is_computed_in(encoder: Encoder) -> None:
    """More images than a block has: 2**20 values are 1,337 of 28 x 28."""
    images = np.concatenate(sample_images() * 3)
    codes = encoder(images)
    assert len(codes) == 1920
    expected = encoder(images[-100:])
    assert np.abs(codes[-100:] - expected).max() <= 1e-5 * np.abs(expected).max()


def test_ten_thousand_images_take_less_than_a_second() -> None:
    """Of the deep model's size; 0.1 s on two cores. The best of three: other programs run too."""
    sizes = (784, 128, 64, 32)
    layers = tuple(
        DenseLayer(np.ones(shape, np.float32), np.ones(shape[1], np.float32), "relu")
        for shape in pairwise(sizes)
    )
    encode = Encoder("deep", "f", "e", "b", (28, 28), "uint8", 255.0, layers)
    images = np.ones((10_000, 28, 28), np.uint8)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        encode(images)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


def test_pixels_are_divided_by_the_scale_and_clipped() -> None:
    encode = small("uint16", 1000.0)
    images = np.array([[[500, 250]], [[1000, 2000]]], np.uint16)
    expected = np.array([[0.75, 0.25], [2, 0]], np.float32)
    assert np.array_equal(encode(images), expected)
    assert np.array_equal(encode(images.astype(">u2")), expected)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.full((3, 1, 2), 1.5), "The images are float64 with values up to 1.5, expected uint8"),
        (np.zeros((1, 2), np.float32), "are float32 with values up to 0, expected uint8"),
        (np.full((1, 2), 256), "are int64 with values up to 256, expected uint8"),
        (np.full((1, 2), "a"), "are str32 with values up to nan, expected uint8"),
        (
            np.zeros((3, 1, 3), np.uint8),
            r"have shape \(3, 1, 3\), expected \(N, 1, 2\) or \(N, 2\)",
        ),
        (np.zeros(2, np.uint8), r"have shape \(2,\), .*a single image is images\[np.newaxis\]"),
        (np.full((3, 1, 2), 255, np.uint8), "values up to 255, .* up to 2: convert them"),
    ],
)
def test_images_of_another_kind_are_refused(images: NDArray[np.generic], reason: str) -> None:
    with pytest.raises(CodesError, match=reason) as refusal:
        small("uint8", 2.0)(images)
    assert "\n" not in str(refusal.value)


BYTES = np.array([[0, 255], [51, 102]], np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        *(BYTES.astype(dtype) for dtype in ("i8", ">u2", "i4")),
        *((BYTES / 255).astype(dtype) for dtype in ("f4", "f8")),
    ],
    ids=lambda images: images.dtype.str,
)
def test_the_same_images_in_another_type_have_the_same_codes(images: NDArray[Any]) -> None:
    assert np.array_equal(small("uint8", 255.0)(images), small("uint8", 255.0)(BYTES))


def test_an_image_has_the_same_code_whichever_are_beside_it() -> None:
    """The unit is told by the type, not by the brightest of the images."""
    encode = small("uint8", 255.0)
    for images in (BYTES, BYTES.astype(int), BYTES / 255, BYTES > 99):
        assert np.array_equal(encode(images[:1])[0], encode(images)[0])


def test_truth_values_and_bytes_are_read_in_each_others_unit() -> None:
    white = np.array([[True, False]])
    assert small("uint8", 255.0)(white).tolist() == [[1, 1]]
    assert small("float32", 1.0)(white).tolist() == [[1, 1]]
    assert small("float32", 1.0)(BYTES[:1]).tolist() == [[1, -1]]
    assert small("float32", 1.0)(np.array([[0.5, 1]])).tolist() == [[1.5, -0.5]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_values_that_are_no_pixels_are_refused(value: float) -> None:
    with pytest.raises(CodesError, match="expected finite values of at least 0"):
        small("float32", 1.0)(np.array([[0, value]], np.float32))


def test_an_unknown_model_is_named(run: PublishedRun) -> None:
    with pytest.raises(CodesError, match="run-1 has no model deep, only shallow"):
        run.encoder()


def test_a_run_of_an_earlier_version_has_no_plain_encoder(
    run: PublishedRun, dataset: DatasetRecord, root: Path
) -> None:
    manifest = read_manifest(run.folder)
    files = tuple(file for file in manifest.files if not file.path.endswith("encoder.h5"))
    write_record(run.folder / "manifest.json", manifest.model_copy(update={"files": files}))
    with pytest.raises(CodesError, match=r"has no file models/shallow/encoder\.h5, .* with Keras"):
        open_published(dataset.name, root).encoder("shallow")


@pytest.fixture
def copy(run: PublishedRun, tmp_path: Path) -> Path:
    """A copy of the encoder file, which tests may damage."""
    return Path(shutil.copy(run.file("models/shallow/encoder.h5"), tmp_path))


def test_a_changed_weight_is_noticed(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file["code/bias"][0] += 1
    with pytest.raises(CodesError, match="its weights do not have the SHA-256"):
        read_encoder(copy)


def test_layers_that_do_not_fit_are_refused(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file["code/bias"]
        file["code/bias"] = np.zeros(31, np.float32)
    with pytest.raises(CodesError, match=r"have shapes \(\(784, 32\), \(31,\)\), expected"):
        read_encoder(copy)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("schema_version", 2, "its schema is .*2"),
        ("scale", None, "attribute scale is None, expected float"),
        ("layers", None, "attribute layers is None, expected list"),
    ],
)
def test_an_attribute_that_is_not_of_the_schema_is_named(
    name: str, value: int | None, reason: str, copy: Path
) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    with pytest.raises(CodesError, match=f"does not follow the contract of an encoder.*{reason}"):
        read_encoder(copy)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5"])
def test_what_is_no_encoder_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "encoder.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CodesError, match=r"encoder\.h5 cannot be read as an encoder file") as error:
        read_encoder(path)
    assert "\n" not in str(error.value)
