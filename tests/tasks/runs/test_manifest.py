import json
from pathlib import Path

import jsonschema
import pytest

from tasks.codes.errors import AutoencoderError
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.manifest import (
    MANIFEST_FILE,
    check_files,
    find_published,
    find_runs,
    manifest_schema,
    read_manifest,
    run_folder,
)
from tests.conftest import complete

SCHEMA = Path(__file__).parents[3] / "artifacts" / "manifest.schema.json"


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


def test_paths_in_a_manifest_are_relative(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    assert str(root) not in (run_folder("run-1", root) / MANIFEST_FILE).read_text()


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_every_difference_to_the_manifest_is_found(
    damage: str, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    check_files(folder, manifest)
    victim = folder / "models" / "shallow" / "history.json"
    if damage == "change":
        victim.write_bytes(victim.read_bytes().swapcase())
    elif damage == "remove":
        victim.unlink()
    else:
        victim.with_name("stray").touch()
    with pytest.raises(AutoencoderError, match="history.json" if damage != "add" else "stray"):
        check_files(folder, manifest)


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


def test_only_folders_of_ours_are_runs(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    (root / "runs" / "notes").mkdir()
    (root / "runs" / "copy").symlink_to("run-1")
    assert [run.run for run in find_runs(root)] == ["run-1"]
