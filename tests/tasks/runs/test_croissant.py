import json
from pathlib import Path
from typing import Any

import pytest

from tasks.codes.reader import sha256_of_file
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.croissant import describe_files, describe_run
from tasks.runs.manifest import Manifest
from tests.conftest import complete


@pytest.fixture
def manifest(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Manifest:
    return complete("run-1", model, dataset, root)


@pytest.fixture
def described(manifest: Manifest, root: Path) -> dict[str, Any]:
    """The description of a published run."""
    found: dict[str, Any] = json.loads((root / "runs" / "run-1" / "croissant.json").read_text())
    return found


def test_every_other_file_is_described_with_its_digest(
    described: dict[str, Any], manifest: Manifest, root: Path
) -> None:
    files = {file["contentUrl"]: file["sha256"] for file in described["distribution"]}
    folder = root / "runs" / "run-1"
    assert files == {path: sha256_of_file(folder / path) for path in files}
    assert set(files) == {file.path for file in manifest.files} - {"croissant.json"}


def test_the_files_of_readers_say_what_is_in_them(
    described: dict[str, Any], manifest: Manifest
) -> None:
    files = {file["@id"]: file for file in described["distribution"]}
    assert describe_files(manifest).keys() <= files.keys()
    array = files["codes/test-shallow.npy"]
    assert (
        array["description"] == "Codes of the test images by the shallow model, (128, 32) float32"
    )
    assert array["contentSize"] == f"{128 + 128 * 32 * 4} B"
    assert files["codes/test.h5"]["encodingFormat"] == "application/x-hdf5"
    assert "application/octet-stream" not in {file["encodingFormat"] for file in files.values()}


def test_class_names_are_records(manifest: Manifest) -> None:
    nameless = manifest.dataset.model_copy(update={"class_names": ()})
    text = describe_run(manifest.model_copy(update={"dataset": nameless}), manifest.files)
    assert json.loads(text)["recordSet"] == []
    named = manifest.dataset.model_copy(update={"class_names": ("boot", "coat")})
    text = describe_run(manifest.model_copy(update={"dataset": named}), manifest.files)
    (classes,) = json.loads(text)["recordSet"]
    assert classes["data"] == [
        {"classes/label": 0, "classes/name": "boot"},
        {"classes/label": 1, "classes/name": "coat"},
    ]
    fields = {field["@id"]: field["dataType"] for field in classes["field"]}
    assert fields == {"classes/label": "sc:Integer", "classes/name": "sc:Text"}


def test_only_images_whose_licence_is_known_have_one(
    described: dict[str, Any], manifest: Manifest
) -> None:
    assert "license" not in described
    known = manifest.dataset.model_copy(update={"name": "fashion-mnist"})
    text = describe_run(manifest.model_copy(update={"dataset": known}), ())
    assert json.loads(text)["license"].endswith("MIT.html")


def test_it_has_no_time_but_that_of_the_manifest(
    described: dict[str, Any], manifest: Manifest, root: Path
) -> None:
    files = [file for file in manifest.files if file.path != "croissant.json"]
    written = (root / "runs" / "run-1" / "croissant.json").read_text()
    assert describe_run(manifest, files) == written
    assert described["datePublished"] == manifest.finished.isoformat()
