import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from tasks.models import ModelRecord
from tasks.parameters import Parameters, RunParameters
from tasks.publication import (
    Manifest,
    building_folder,
    complete_run,
    manifest_schema,
    publish,
    run_folder,
)
from tasks.records import DatasetRecord, Metrics
from tasks.storage import describe_file

SCHEMA = Path(__file__).parents[2] / "artifacts" / "manifest.schema.json"
METRICS = {
    "shallow": Metrics(
        validation_loss=0.5, entropy_floor=0.24, reconstruction_mse=0.1, live_units=32
    )
}


def complete(
    run: str, model: ModelRecord, dataset: DatasetRecord, root: Path, quick: bool = False
) -> Manifest:
    (building_folder(run, root) / "codes").mkdir()
    (building_folder(run, root) / "codes" / "test.h5").write_text("codes")
    parameters = Parameters(run=RunParameters(quick=quick))
    started = datetime.now(UTC)
    return complete_run(run, started, parameters, dataset, [model], METRICS, root)


def test_a_run_is_complete_self_contained_and_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    assert Manifest.model_validate_json((folder / "manifest.json").read_bytes()) == manifest
    assert {file.path for file in manifest.files} == {
        "codes/test.h5",
        "models/shallow/autoencoder.keras",
        "models/shallow/encoder.keras",
        "models/shallow/history.json",
        "models/shallow/model.json",
    }
    for file in manifest.files:
        assert describe_file(folder, file.path) == file
    link = root / "published" / dataset.name
    assert link.readlink() == Path("../runs/run-1")
    assert link.resolve() == folder.resolve()
    assert not list((root / "runs").glob(".partial-*"))


def test_the_next_run_takes_its_place(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
        assert (root / "published" / dataset.name).resolve().name == run
    assert run_folder("run-1", root).is_dir()


def test_a_quick_look_is_kept_but_not_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root, quick=True)
    assert not manifest.verdict.published
    assert "quick look" in manifest.verdict.reason
    assert run_folder("run-1", root).is_dir()
    assert not (root / "published").exists()


def test_what_a_kill_left_does_not_hinder_the_switch(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    (root / "published").mkdir()
    (root / "published" / f".partial-{dataset.name}").symlink_to("nowhere")
    complete("run-1", model, dataset, root)
    assert [path.name for path in (root / "published").iterdir()] == [dataset.name]


def test_what_a_kill_left_half_written_is_not_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    (root / model.folder / ".partial-x.keras").touch()
    (root / model.folder / "checkpoints").mkdir()
    codes = building_folder("run-1", root) / "codes"
    codes.mkdir()
    (codes / ".partial-x.h5").touch()
    codes.rename(codes.with_name("figures"))
    manifest = complete("run-1", model, dataset, root)
    assert not [file for file in manifest.files if ".partial" in file.path]
    assert not (run_folder("run-1", root) / "models" / "shallow" / "checkpoints").exists()
    assert not list(run_folder("run-1", root).rglob(".partial-*"))


def test_publishing_needs_no_window_without_a_link(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old link is there until the very rename that brings the new one."""
    complete("run-1", model, dataset, root)
    seen = []
    rename = Path.replace

    def spy(self: Path, target: Path) -> Path:
        seen.append(target.readlink())
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    publish(root / "runs" / "run-2", dataset.name, root)
    assert seen == [Path("../runs/run-1")]


def test_the_tracked_schema_is_current() -> None:
    assert SCHEMA.read_text() == manifest_schema(), "run: make schema"


def test_a_manifest_is_valid_by_the_tracked_schema(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    manifest = json.loads((run_folder("run-1", root) / "manifest.json").read_text())
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
    assert str(root) not in (run_folder("run-1", root) / "manifest.json").read_text()
