"""What version 0.1.0 published is read as before."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.codes import CodesError, open_codes, open_published, verify_codes
from tasks.codes.__main__ import main
from tests.tasks.codes.earlier import ARTIFACTS, DATASET, copy_codes

NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@pytest.mark.parametrize(("split", "rows"), [("train", 256), ("test", 32)])
@pytest.mark.parametrize("model", ["shallow", "deep"])
def test_a_published_run_is_read(split: str, rows: int, model: str) -> None:
    run = open_published(DATASET, ARTIFACTS)
    read = run.codes(split, model)  # type: ignore[arg-type]
    with h5py.File(run.folder / "codes" / f"{split}.h5") as file:
        assert np.array_equal(read.codes, file[f"{model}/codes"])
        assert np.array_equal(read.reconstruction_mse, file[f"{model}/reconstruction_mse"])
        np.testing.assert_array_equal(read.labels, file["labels"])
        assert read.model.fingerprint.encode() == file[model].attrs["fingerprint"]
        assert read.split.dataset.encode() == file.attrs["dataset"]
    assert read.codes.shape == (rows, 4)
    assert (read.split.schema_version, read.split.scale, read.split.image_shape) == (1, 250, (8, 8))


def test_what_the_file_lacks_is_filled_in() -> None:
    """Class names from the manifest, the digest of the codes computed, the basis its own."""
    run = open_published(DATASET, ARTIFACTS)
    read = run.codes("test", "deep")
    assert run.class_names == NAMES
    assert read.split.class_names == NAMES
    assert read.model.codes_sha256 == hashlib.sha256(read.codes.tobytes()).hexdigest()
    assert read.model.basis == read.model.encoder_weights_sha256
    with open_codes(run.file("codes/test.h5")) as file:
        assert file.split.class_names == ()


def test_its_files_are_shown_and_verified(capsys: pytest.CaptureFixture[str]) -> None:
    path = open_published(DATASET, ARTIFACTS).folder / "codes" / "test.h5"
    assert main(["--verify", str(path)]) == 0
    assert main([str(path)]) == 0
    assert "784" not in capsys.readouterr().out
    assert json.loads((path.parents[1] / "manifest.json").read_text())["versions"]["project"] == (
        "0.1.0"
    )


def change_label(file: h5py.File) -> None:
    file["labels"][3] = 9 - file["labels"][3]


def write_variable_length_text(file: h5py.File) -> None:
    file.attrs["split"] = "test"


def name_classes(file: h5py.File) -> None:
    file.attrs.create("class_names", b"[]", dtype=h5py.string_dtype("utf-8", 2))


def add_basis(file: h5py.File) -> None:
    file["deep"].attrs.create("basis", b"b", dtype=h5py.string_dtype("utf-8", 1))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (change_label, "its contents do not have the SHA-256"),
        (write_variable_length_text, "attribute split is not fixed-length text"),
        (name_classes, "attribute class_names is unknown"),
        (add_basis, "attribute basis is unknown"),
    ],
)
def test_what_version_1_does_not_allow_is_refused(
    damage: object, reason: str, tmp_path: Path
) -> None:
    path = copy_codes(tmp_path)
    verify_codes(path)
    with h5py.File(path, "a") as file:
        damage(file)  # type: ignore[operator]
    with pytest.raises(CodesError, match=reason):
        verify_codes(path)
