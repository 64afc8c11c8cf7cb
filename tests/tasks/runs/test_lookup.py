import json
import shutil
from pathlib import Path

import pytest

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import MANIFEST_FILE, published_link, run_folder
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.models.fingerprint import fingerprint_of
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.runs.lookup import (
    check_files,
    expects_training,
    find_ever_published,
    find_published,
    find_run,
    find_runs,
    find_unchanged,
    published_run,
    resolve_run,
)
from tasks.runs.manifest import DERIVED_VERSION
from tests.conftest import METRICS, SAMPLE, SPEC, anchor_to, complete


def test_only_folders_of_ours_are_runs(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    (root / "runs" / "notes").mkdir()
    (root / "runs" / "copy").symlink_to("run-1")
    assert [run.run for run in find_runs(root)] == ["run-1"]


@pytest.mark.parametrize(
    "words", ["5642a5a0", "5642a5a0-1f55-4ac4-93bc-a6869936543a", "boots-seed0-2026-11-26-5642a5a0"]
)
def test_a_run_is_found_by_its_id_the_start_of_it_and_its_name_in_prefect(
    words: str, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    run = "5642a5a0-1f55-4ac4-93bc-a6869936543a"
    complete(run, model, dataset, root)
    complete("77c1-other", model, dataset, root)
    assert find_run(words, root).run == run
    assert resolve_run(words, root) == run
    with pytest.raises(AutoencoderError, match="No run starts with 'boots-seed0'"):
        resolve_run("boots-seed0", root)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("change", "history.json differs from its manifest: [0-9]+ bytes .*, expected [0-9]+"),
        ("remove", "history.json cannot be read .No such file"),
        ("add", "stray is not in manifest.json: remove it"),
    ],
)
def test_every_difference_to_the_manifest_is_found(
    damage: str, expected: str, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    check_files(folder, manifest.files)
    victim = folder / "models" / "shallow" / "history.json"
    if damage == "change":
        victim.write_bytes(victim.read_bytes().swapcase())
    elif damage == "remove":
        victim.unlink()
    else:
        victim.with_name("stray").touch()
    with pytest.raises(AutoencoderError, match=expected):
        check_files(folder, manifest.files)


def test_an_unchanged_run_is_found_if_all_is_sound(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    assert find_unchanged([model.fingerprint], dataset, root) is None
    manifest = complete("run-1", model, dataset, root)
    assert find_unchanged([model.fingerprint], dataset, root) == manifest
    assert find_unchanged(["0" * 64], dataset, root) is None
    renamed = dataset.model_copy(update={"class_names": ("other",)})
    assert find_unchanged([model.fingerprint], renamed, root) is None
    (run_folder("run-1", root) / "codes" / "stray").touch()
    assert find_unchanged([model.fingerprint], dataset, root) is None


@pytest.mark.parametrize("version", [1, DERIVED_VERSION + 1])
def test_a_run_of_other_formats_is_made_anew(
    version: int,
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The manifest of version 0.1.0 lacks the field, which then is 1."""
    caplog.set_level("INFO")
    manifest = complete("run-1", model, dataset, root)
    assert find_unchanged([model.fingerprint], dataset, root) == manifest
    stored = json.loads(manifest.model_dump_json())
    stored["derived_version"] = version
    if version == 1:
        del stored["derived_version"]
    (run_folder("run-1", root) / MANIFEST_FILE).write_text(json.dumps(stored))
    assert find_unchanged([model.fingerprint], dataset, root) is None
    assert "The published run is of another version: all but its models is made" in caplog.text


def test_runs_that_were_refused_were_never_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    complete("worse", model, dataset, root, METRICS.model_copy(update={"validation_loss": 0.31}))
    assert [run.run for run in find_ever_published(dataset.name, root)] == ["run-1", "run-2"]
    (root / "publications" / f"{dataset.name}.json").unlink()
    assert [run.run for run in find_ever_published(dataset.name, root)] == ["run-2"]


def test_a_published_run_that_is_gone_counts_as_none(root: Path) -> None:
    link = published_link("mine", root)
    assert published_run("mine", root) is None
    link.parent.mkdir()
    link.symlink_to("../runs/gone")
    assert published_run("mine", root) == "gone"
    assert find_published("mine", root) is None


def test_a_training_is_expected_unless_the_published_run_has_every_model(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = Parameters(data=SAMPLE)
    monkeypatch.setattr(Parameters, "specs", lambda self: [SPEC])
    assert expects_training(parameters, root)  # nothing is published
    complete("run-1", model, dataset, root)
    assert not expects_training(parameters, root)
    for options in (RunParameters(retrain=True), RunParameters(quick=True)):
        assert expects_training(parameters.model_copy(update={"run": options}), root)
    for specs in ([SPEC.model_copy(update={"seed": 7})], [SPEC, SPEC], []):
        monkeypatch.setattr(Parameters, "specs", lambda self, specs=specs: specs)
        assert expects_training(parameters, root)


@pytest.mark.parametrize("missing", ["model", "manifest"])
def test_a_training_is_expected_where_something_is_gone(
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    monkeypatch.setattr(Parameters, "specs", lambda self: [SPEC])
    complete("run-1", model, dataset, root)
    if missing == "model":
        shutil.rmtree(root / model.folder)
    else:
        (run_folder("run-1", root) / MANIFEST_FILE).write_text("{")
    assert expects_training(Parameters(data=SAMPLE), root)


def test_an_anchored_model_is_expected_to_be_reused(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parameters, "specs", lambda self: [SPEC])
    spec = SPEC.anchored_to(anchor_to(model))
    fingerprint = fingerprint_of(dataset, spec, model.device)
    anchored = model.model_copy(update={"spec": spec, "fingerprint": fingerprint})
    manifest = complete("run-1", model, dataset, root)
    write_record(
        run_folder("run-1", root) / MANIFEST_FILE,
        manifest.model_copy(update={"models": (anchored,)}),
    )
    assert not expects_training(Parameters(data=SAMPLE), root)
