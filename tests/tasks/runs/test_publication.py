from pathlib import Path

import pytest

from tasks.codes.errors import CodesError
from tasks.core.errors import RefusedError, StepError, TransientError
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.runs import publication
from tasks.runs.journal import read_journal, superseded_at
from tasks.runs.manifest import check_files, published_link, read_manifest, run_folder
from tasks.runs.publication import (
    begin_run,
    building_folder,
    find_unchanged,
    finish_run,
    publish,
    raise_if_refused,
)
from tests.conftest import BASELINES, METRICS, SUMMARY, complete

WORSE = METRICS.model_copy(update={"validation_loss": 0.31})


def published(dataset: DatasetRecord, root: Path) -> str:
    return published_link(dataset.name, root).resolve().name


def test_a_run_is_complete_self_contained_and_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    assert read_manifest(folder) == manifest
    assert {file.path for file in manifest.files} == {
        "codes/test.h5",
        "codes/train.h5",
        "models/shallow/autoencoder.keras",
        "models/shallow/encoder.keras",
        "models/shallow/history.json",
        "models/shallow/model.json",
        "report.html",
        "report.md",
    }
    check_files(folder, manifest)
    assert published_link(dataset.name, root).readlink() == Path("../runs/run-1")
    assert not list((root / "runs").glob(".partial-*"))


def test_the_next_run_takes_its_place(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
        assert published(dataset, root) == run
    assert run_folder("run-1", root).is_dir()
    assert superseded_at("run-1", dataset.name, root)
    assert not superseded_at("run-2", dataset.name, root)


def test_a_quick_look_is_kept_but_not_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root, settings=RunParameters(quick=True))
    assert manifest.verdict.outcome == "quick look"
    assert run_folder("run-1", root).is_dir()
    assert not (root / "published").exists()


def test_a_refused_run_is_kept_and_leaves_what_is_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    manifest = complete("run-2", model, dataset, root, WORSE)
    assert manifest.verdict.outcome == "refused"
    assert manifest == read_manifest(run_folder("run-2", root))
    with pytest.raises(RefusedError, match="loss of 0.31000, its rival .run run-1."):
        raise_if_refused(manifest)
    assert published(dataset, root) == "run-1"
    assert manifest.best_losses["shallow-32"].run == "run-1"


def test_publish_anyway_publishes_and_keeps_the_better_rival(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    manifest = complete(
        "run-2", model, dataset, root, WORSE, settings=RunParameters(publish_anyway=True)
    )
    assert published(dataset, root) == "run-2"
    assert "although" in manifest.verdict.reason
    assert manifest.best_losses["shallow-32"].run == "run-1"


def test_a_second_attempt_finds_what_the_first_completed(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    assert finish_run("run-1", root) is None
    manifest = complete("run-1", model, dataset, root)
    assert finish_run("run-1", root) == manifest
    raise_if_refused(manifest)
    refused = complete("run-2", model, dataset, root, WORSE)
    assert finish_run("run-2", root) == refused
    assert published(dataset, root) == "run-1"


def test_a_second_attempt_keeps_what_was_made_of_the_same_weights(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    begin_run("run-1", [model], root)
    made = building_folder("run-1", root) / "codes" / "test.h5"
    made.parent.mkdir()
    made.touch()
    begin_run("run-1", [model], root)
    assert made.exists()
    begin_run("run-1", [model.model_copy(update={"weights_sha256": "b" * 64})], root)
    assert not made.exists()
    manifest = complete("run-1", model, dataset, root)
    assert not [file for file in manifest.files if ".attempt" in file.path]
    check_files(run_folder("run-1", root), manifest)
    assert not (run_folder("run-1", root) / ".attempt").exists()


def test_a_late_second_attempt_does_not_push_aside_a_newer_run(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publication, "_switch", lambda *_: None)
        complete("run-1", model, dataset, root)
    better = METRICS.model_copy(update={"validation_loss": 0.29})
    manifest = complete("run-2", model, dataset, root, better)
    assert "no rival" in manifest.verdict.reason, "run-1 was never published"
    finish_run("run-1", root)
    assert published(dataset, root) == "run-2"


def test_a_model_that_was_trained_again_meanwhile_is_not_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    with pytest.raises(TransientError, match="changed while it was copied"):
        complete("run-1", model.model_copy(update={"seconds": 0.0}), dataset, root)


def test_a_published_manifest_that_cannot_be_read_does_not_disarm_the_gate(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    (run_folder("run-1", root) / "manifest.json").write_text("{}")
    refused = complete("run-2", model, dataset, root)
    assert refused.verdict.outcome == "refused"
    assert "the published run cannot be compared with" in refused.verdict.reason
    settings = RunParameters(publish_anyway=True)
    assert complete("run-3", model, dataset, root, settings=settings).verdict.published


def test_trouble_with_tidying_up_does_not_fail_a_run(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(publication, "collect", fail)
    assert complete("run-1", model, dataset, root).verdict.published
    assert published(dataset, root) == "run-1"


def test_drift_of_the_images_is_measured_and_told(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert complete("run-1", model, dataset, root).drift is None
    moved = SUMMARY.model_copy(update={"means": ((0.26, 0.46),)})
    pixels = BASELINES.pixels.model_copy(update={"summary": moved})
    baselines = BASELINES.model_copy(update={"pixels": pixels})
    drift = complete("run-2", model, dataset, root, baselines=baselines).drift
    assert drift is not None
    assert (drift.rival, drift.mean_shift) == ("run-1", 0.2)
    assert "drifted since run run-1: their mean by 0.200 standard deviations" in caplog.text


def test_a_model_that_is_no_longer_published_is_told(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete("run-1", model, dataset, root)
    assert "miss" not in caplog.text
    manifest = read_manifest(run_folder("run-1", root))
    metrics = {**manifest.metrics, "wide": METRICS}
    write_record(
        run_folder("run-1", root) / "manifest.json",
        manifest.model_copy(update={"metrics": metrics}),
    )
    complete("run-2", model, dataset, root, settings=RunParameters(quick=True))
    assert "miss" not in caplog.text, "a quick look takes nothing away"
    complete("run-3", model, dataset, root)
    assert "Readers will miss codes of wide: the run published before, run-1, has" in caplog.text


def test_a_complete_run_is_never_overwritten(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    with pytest.raises(StepError, match="complete already"):
        complete("run-1", model, dataset, root)
    check_files(run_folder("run-1", root), manifest)


def test_a_second_attempt_makes_good_a_switch_that_was_missed(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete("run-1", model, dataset, root)
    with monkeypatch.context() as patch:
        patch.setattr(publication, "_switch", lambda *_: None)
        complete("run-2", model, dataset, root)
    assert published(dataset, root) == "run-1"
    finish_run("run-2", root)
    assert published(dataset, root) == "run-2"


def test_a_second_attempt_does_not_undo_a_later_publication(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    finish_run("run-1", root)
    assert published(dataset, root) == "run-2"


def test_rollback_verifies_and_switches(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    publish("run-1", root)
    assert published(dataset, root) == "run-1"
    assert [entry.run for entry in read_journal(dataset.name, root).publications] == [
        "run-1",
        "run-2",
        "run-1",
    ]
    assert superseded_at("run-2", dataset.name, root)
    assert not superseded_at("run-1", dataset.name, root)


def test_rollback_to_a_damaged_run_is_refused(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    codes = run_folder("run-1", root) / "codes" / "test.h5"
    codes.write_bytes(codes.read_bytes()[:-1])
    with pytest.raises(CodesError, match=r"codes/test\.h5 differs from its manifest"):
        publish("run-1", root)
    assert published(dataset, root) == "run-2"


def test_rollback_to_a_run_that_was_not_published_needs_a_word(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    complete("run-2", model, dataset, root, settings=RunParameters(quick=True))
    with pytest.raises(StepError, match="Add --anyway"):
        publish("run-2", root)
    publish("run-2", root, anyway=True)
    assert published(dataset, root) == "run-2"


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
    figures = building_folder("run-1", root) / "figures"
    figures.mkdir()
    (figures / ".partial-x.png").touch()
    manifest = complete("run-1", model, dataset, root)
    assert not [file for file in manifest.files if ".partial" in file.path]
    assert not (run_folder("run-1", root) / "models" / "shallow" / "checkpoints").exists()
    assert not list(run_folder("run-1", root).rglob(".partial-*"))


def test_publishing_needs_no_window_without_a_link(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old link is there until the very rename that brings the new one."""
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    seen = []
    rename = Path.replace

    def spy(self: Path, target: Path) -> Path:
        if target == published_link(dataset.name, root):
            seen.append(target.readlink())
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    publish("run-1", root)
    assert seen == [Path("../runs/run-2")]
