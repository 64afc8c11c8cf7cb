import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.codes import CodesError, read_codes, verify_codes
from tasks.codes.contract import content_sha256
from tasks.codes.provenance import CONTENT_SHA256
from tasks.encoding.writer import CodesBlock, ModelCodes, write_attributes, write_codes
from tests.conftest import example_model
from tests.tasks.codes.files import with_classes, write_random_codes

ROWS = 300


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two models."""
    path = tmp_path_factory.mktemp("codes") / "test.h5"
    generator = np.random.default_rng(0)
    models = [
        ModelCodes(
            example_model(name),
            [CodesBlock(generator.random((ROWS, 32), np.float32), np.ones(ROWS, np.float32))],
        )
        for name in ("shallow", "deep")
    ]
    labels = np.arange(ROWS, dtype=np.int64)
    write_codes(path, "test", with_classes(ROWS), np.arange(ROWS), labels, models)
    return path


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copy(sound, tmp_path))


def seal(file: h5py.File) -> None:
    """Make the checksum fit again, as someone would who means harm."""
    del file.attrs[CONTENT_SHA256]
    models = tuple(file.attrs["models"])
    write_attributes(file, {CONTENT_SHA256: content_sha256(file, models)})


def replace(file: h5py.File, path: str, values: np.ndarray, **storage: object) -> None:
    del file[path]
    file.create_dataset(path, data=values, **storage)


def filtered(file: h5py.File, path: str, values: np.ndarray) -> None:
    replace(
        file, path, values, chunks=values.shape, compression="gzip", shuffle=True, fletcher32=True
    )


def change_value(file: h5py.File) -> None:
    file["labels"][3] = 7


def add_external_link(file: h5py.File) -> None:
    file["other"] = h5py.ExternalLink("elsewhere.h5", "/")


def link_softly(file: h5py.File) -> None:
    del file["deep/codes"]
    file["deep/codes"] = h5py.SoftLink("/shallow/codes")


def make_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((ROWS,), "<f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (ROWS,))
    del file["deep/reconstruction_mse"]
    file.create_virtual_dataset("deep/reconstruction_mse", layout)


def store_elsewhere(file: h5py.File) -> None:
    values = np.zeros(ROWS, "<f4")
    raw = f"{file.filename}.raw"
    replace(file, "deep/reconstruction_mse", values, external=[(raw, 0, values.nbytes)])


def claim_rows_without_chunks(file: h5py.File) -> None:
    del file["labels"]
    file.create_dataset(
        "labels", (ROWS,), "<i8", chunks=(ROWS,), compression="gzip", shuffle=True, fletcher32=True
    )


def repeat_index(file: h5py.File) -> None:
    file["index"][5] = 4
    seal(file)


def put_nan(file: h5py.File) -> None:
    file["deep/codes"][3, 4] = np.nan
    seal(file)


def change_code(file: h5py.File) -> None:
    file["deep/codes"][3, 4] += 1
    seal(file)


def put_label(label: int) -> Callable[[h5py.File], None]:
    def put(file: h5py.File) -> None:
        file["labels"][3] = label
        seal(file)

    return put


def drop_labels(file: h5py.File) -> None:
    del file["labels"]
    seal(file)


def write_fixed_length_text(file: h5py.File) -> None:
    file.attrs.create("split", b"test", dtype=h5py.string_dtype("utf-8", 4))


def write_latin_text(file: h5py.File) -> None:
    file.attrs.create("split", b"gr\xf6\xdfer", dtype=h5py.string_dtype("utf-8"))


def describe_dataset(file: h5py.File) -> None:
    file["deep/codes"].attrs["note"] = "of variable length"
    seal(file)


def make_dimension_scale(file: h5py.File) -> None:
    file["index"].make_scale("row")
    file["labels"].dims[0].attach_scale(file["index"])
    seal(file)


def share_codes(file: h5py.File) -> None:
    del file["deep/codes"]
    file["deep/codes"] = file["shallow/codes"]
    seal(file)


def share_group(file: h5py.File) -> None:
    del file["deep"]
    file["deep"] = file["shallow"]
    seal(file)


DAMAGES: dict[str, Callable[[h5py.File], None]] = {
    "do not have the SHA-256": change_value,
    "other is a link": add_external_link,
    "deep/codes is a link": link_softly,
    "deep/reconstruction_mse is stored outside the file": make_virtual,
    "reconstruction_mse is stored outside the file or": store_elsewhere,
    "labels lacks chunks": claim_rows_without_chunks,
    "index does not rise": repeat_index,
    "/deep/codes holds values that are not finite": put_nan,
    "deep/codes has the attribute note, expected none": describe_dataset,
    "index has the attribute CLASS, expected none": make_dimension_scale,
    "deep/codes has another name too": share_codes,
    "deep has another name too": share_group,
    "deep/codes does not have the SHA-256 in the attribute codes_sha256": change_code,
    "labels holds 300, expected one that counts from 0 into the 300 class": put_label(ROWS),
    "labels holds -1, expected one that counts from 0": put_label(-1),
    "attribute class_names is unknown, expected none without labels": drop_labels,
    "attribute class_names is 'T-shirt', expected a JSON array of texts": (
        lambda file: write_attributes(file, {"class_names": "T-shirt"})
    ),
    "attribute class_names is (1, 2), expected a JSON array of texts": (
        lambda file: write_attributes(file, {"class_names": "[1, 2]"})
    ),
    "attribute class_names is 7, expected a JSON array of texts": (
        lambda file: write_attributes(file, {"class_names": 7})
    ),
    "attribute basis is missing": lambda file: file["deep"].attrs.pop("basis"),
    "attribute codes_sha256 is missing": lambda file: file["deep"].attrs.pop("codes_sha256"),
    "attribute split is not variable-length text": write_fixed_length_text,
    "attribute split is not UTF-8 text": write_latin_text,
    "deep/codes is missing": lambda file: file.pop("deep/codes"),
    "index is missing": lambda file: file.move("index", "indices"),
    "attribute scale is missing": lambda file: file.attrs.pop("scale"),
    "attribute extra is unknown": lambda file: write_attributes(file, {"extra": 1}),
    "attribute seed is 'x', expected an integer of at least 0": lambda file: write_attributes(
        file["deep"], {"seed": "x"}
    ),
    "attribute validation_loss is nan, expected a finite number": lambda file: write_attributes(
        file["deep"], {"validation_loss": float("nan")}
    ),
    "labels has type <i4, expected <i8": lambda file: filtered(
        file, "labels", np.arange(ROWS, dtype="<i4")
    ),
    "deep/codes has type <f8, expected <f4": lambda file: filtered(
        file, "deep/codes", np.zeros((ROWS, 32))
    ),
    "deep/codes has shape": lambda file: filtered(file, "deep/codes", np.zeros(ROWS, "<f4")),
    "labels has shape": lambda file: filtered(file, "labels", np.arange(ROWS - 1)),
    "labels has filters": lambda file: replace(file, "labels", np.arange(ROWS), chunks=(ROWS,)),
    "labels has chunks of shape": lambda file: replace(
        file, "labels", np.arange(ROWS), chunks=(7,), compression="gzip"
    ),
    "it has no rows, expected at least one": lambda file: replace(
        file, "index", np.zeros(0, "<i8")
    ),
    "deep/codes is a group": lambda file: (
        file.move("deep/codes", "x") or file.move("x", "deep/codes/x")
    ),
    "its schema is not autoencoder-flow/codes": lambda file: write_attributes(
        file, {"schema_name": "another"}
    ),
    "schema version is 3, and this reader supports 2: read it with autoencoder-flow 0.9 or newer": (
        lambda file: write_attributes(file, {"schema_version": 3, "schema_since": "0.9"})
    ),
    "attribute schema_version is 0, expected 1 to 2": lambda file: write_attributes(
        file, {"schema_version": 0}
    ),
    "deep/more is not part of the contract": lambda file: file.create_dataset(
        "deep/more", data=[1.0]
    ),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_what_the_contract_does_not_allow_is_refused_in_one_line(reason: str, path: Path) -> None:
    verify_codes(path)
    with h5py.File(path, "a") as file:
        DAMAGES[reason](file)
    with pytest.raises(CodesError) as refusal:
        verify_codes(path)
    assert reason in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("fiftieths", range(50))
def test_a_truncated_file_is_refused(fiftieths: int, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * fiftieths // 50])
    with pytest.raises(CodesError, match="cannot be read as a codes file"):
        read_codes(path)


def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Some bytes of an HDF5 file mean nothing; the manifest's SHA-256 notices those too.

    One model: most of the time goes into opening the objects of a file, 400 times.
    """
    path = tmp_path / "test.h5"
    write_random_codes(path, ROWS, [ROWS], labels=np.arange(ROWS))
    content, expected = path.read_bytes(), read_codes(path, "shallow")
    generator, refused = np.random.default_rng(0), 0
    for position in generator.choice(len(content), 400, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = read_codes(path, "shallow")
        except CodesError:
            refused += 1
        else:
            assert found.codes.tobytes() == expected.codes.tobytes()
            assert found.reconstruction_mse.tobytes() == expected.reconstruction_mse.tobytes()
            np.testing.assert_array_equal(found.labels, expected.labels)
            np.testing.assert_array_equal(found.index, expected.index)
            assert (found.split, found.model) == (expected.split, expected.model)
    assert refused > 200


def test_a_file_that_is_not_there_is_named_in_a_short_line(tmp_path: Path) -> None:
    path = tmp_path / "none.h5"
    with pytest.raises(CodesError) as refusal:
        verify_codes(path)
    assert str(refusal.value) == f"{path} cannot be read as a codes file: No such file or directory"
