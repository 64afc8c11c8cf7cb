import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.codes.published import MANIFEST_FILE, open_published, run_folder
from tasks.core.errors import StepError
from tasks.core.records import SPLITS, DatasetRecord
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import Parameters
from tasks.runs.lookup import find_published, find_runs
from tasks.runs.manifest import Manifest, manifest_schema, read_manifest
from tasks.runs.retention import needed_folders
from tasks.runs.rivals import find_best_losses, loss_key
from tests.conftest import complete

SCHEMA = Path(__file__).parents[3] / "artifacts" / "manifest.schema.json"
RELEASED = Path(__file__).parents[2] / "fixtures" / "manifests"
"""A manifest of each released version, and of the one to come, named by it.

0.2.0 keeps a basis and has a model of its own; replace it when that version is released.
"""


def test_the_tracked_schema_is_current() -> None:
    assert SCHEMA.read_text() == manifest_schema(), "run: make schema"


def test_a_manifest_is_valid_by_the_tracked_schema(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    manifest = json.loads((run_folder("run-1", root) / MANIFEST_FILE).read_text())
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(manifest, schema, cls=jsonschema.Draft202012Validator)
    del manifest["models"][0]["fingerprint"]
    with pytest.raises(jsonschema.ValidationError, match="fingerprint"):
        jsonschema.validate(manifest, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("version", [path.stem for path in RELEASED.iterdir()])
def test_manifests_of_released_versions_are_read(version: str, root: Path) -> None:
    text = (RELEASED / f"{version}.json").read_text()
    folder = run_folder(json.loads(text)["run"], root)
    folder.mkdir(parents=True)
    (folder / MANIFEST_FILE).write_text(text)
    manifest = read_manifest(folder)
    assert manifest.versions.project == version
    assert find_runs(root) == [manifest]
    best = find_best_losses(manifest.dataset, [manifest])
    for model in manifest.models:
        loss = manifest.metrics[model.name].validation_loss
        assert best[loss_key(model)].validation_loss == loss
    assert needed_folders(root) >= {manifest.dataset.folder, manifest.models[0].folder}


def test_parameters_of_earlier_versions_need_not_be_valid_today(root: Path) -> None:
    """A model that is no longer offered, a bound that was wider, a group that is gone."""
    stored = json.loads((RELEASED / "0.1.0.json").read_text())
    stored["models"][0]["spec"]["architecture"]["code_size"] = 10**6
    stored["parameters"]["models"]["huge"] = True
    stored["parameters"]["training"] |= {"batch_size": 10**9, "recipe": "forgotten"}
    stored["parameters"]["notifications"] = {"to": "everybody"}
    with pytest.raises(ValidationError):
        Parameters.model_validate(stored["parameters"])
    folder = run_folder(stored["run"], root)
    folder.mkdir(parents=True)
    (folder / MANIFEST_FILE).write_text(json.dumps(stored))
    manifest = read_manifest(folder)
    assert manifest.parameters == stored["parameters"]
    assert find_runs(root) == [manifest]
    jsonschema.validate(stored, json.loads(SCHEMA.read_text()))


def add_unknown(value: Any) -> Any:
    """The same JSON with a field more in every object that has fixed fields."""
    if isinstance(value, list):
        return [add_unknown(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {name: add_unknown(entry) for name, entry in value.items()} | (
        {"of_the_future": {"text": "x"}} if value.keys() & FIXED else {}
    )


FIXED = {"sha256", "fingerprint", "architecture", "epochs", "outcome", "name", "validation_loss"}
"""Names of fields that tell a record from an object whose keys are data."""


@pytest.mark.parametrize("version", [path.stem for path in RELEASED.iterdir()])
def test_what_a_later_version_adds_to_a_manifest_is_ignored(version: str, root: Path) -> None:
    text = (RELEASED / f"{version}.json").read_text()
    later = add_unknown(json.loads(text))
    assert json.dumps(later).count("of_the_future") > 10
    later["parameters"] = json.loads(text)["parameters"]
    folder = run_folder(later["run"], root)
    folder.mkdir(parents=True)
    (folder / MANIFEST_FILE).write_text(json.dumps(later | {"also": 1}))
    assert read_manifest(folder) == Manifest.model_validate_json(text)
    jsonschema.validate(later, json.loads(SCHEMA.read_text()))


def test_paths_in_a_manifest_are_relative(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    assert str(root) not in (run_folder("run-1", root) / MANIFEST_FILE).read_text()


def test_a_damaged_manifest_is_named_with_the_field(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    path = run_folder("run-1", root) / MANIFEST_FILE
    path.write_text(path.read_text().replace('"run-1"', "7", 1))
    with pytest.raises(StepError, match=r"manifest\.json is damaged: run: Input should be"):
        read_manifest(path.parent)
    with pytest.raises(StepError, match="is damaged"):
        find_published(dataset.name, root)
    assert find_runs(root) == []


def test_codes_have_their_digests_and_models_their_basis(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    run = open_published(dataset.name, root)
    assert manifest.codes_sha256 == {
        "shallow": {
            split: hashlib.sha256(run.codes(split, "shallow").codes.tobytes()).hexdigest()
            for split in SPLITS
        }
    }
    assert read_manifest(run.folder) == manifest
    stored = json.loads((run.folder / MANIFEST_FILE).read_text())["models"][0]
    assert stored["basis"] == model.encoder_weights_sha256
    del stored["basis"]
    assert ModelRecord.model_validate(stored).basis is None  # it gives no later model a basis
