import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from unittest import mock

import pytest

from tasks.codes.errors import CodesError
from tasks.codes.published import published_link, run_folder
from tasks.core.errors import StepError, TransientError
from tasks.core.records import DatasetRecord
from tasks.core.storage import write_record
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.runs import publication
from tasks.runs.building import ATTEMPT_FOLDER, WAITING_FILE, building_folder, read_waiting
from tasks.runs.journal import read_journal, superseded_at
from tasks.runs.lookup import check_files
from tasks.runs.manifest import Manifest, read_manifest
from tasks.runs.publication import publish, resume_publication
from tasks.runs.retention import delete_unneeded
from tests.approval import answer, complete_waiting, settle_with
from tests.conftest import BASELINES, METRICS, SUMMARY, complete

WORSE = METRICS.model_copy(update={"validation_loss": 0.31})


@pytest.fixture
def waiting(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Manifest:
    """`run-2`, which waits for a person, as it is worse than `run-1`."""
    monkeypatch.setenv("AUTOENCODER_APPROVAL_TOLERANCE", "0.005")
    return complete_waiting(model, dataset, root)


class KilledError(Exception):
    """Stands for the end of the process."""


@contextmanager
def killed_before_the_switch() -> Iterator[None]:
    with (
        mock.patch.object(publication, "switch_link", side_effect=KilledError),
        pytest.raises(KilledError),
    ):
        yield


def published(dataset: DatasetRecord, root: Path) -> str:
    return published_link(dataset.name, root).resolve().name


def test_a_run_is_complete_self_contained_and_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    folder = run_folder("run-1", root)
    assert read_manifest(folder) == manifest
    assert {file.path for file in manifest.files} == {
        "codes/test-shallow.npy",
        "codes/test.h5",
        "codes/train-shallow.npy",
        "codes/train.h5",
        "croissant.json",
        "models/shallow/autoencoder.keras",
        "models/shallow/encoder.h5",
        "models/shallow/encoder.keras",
        "models/shallow/history.json",
        "models/shallow/model.json",
        "report.html",
        "report.md",
    }
    check_files(folder, manifest.files)
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
    assert "Shallow loss 0.3100 is 16.67 % worse than the best published, 0.3000 in run run-1 " in (
        manifest.verdict.reason
    )
    assert published(dataset, root) == "run-1"
    assert manifest.best_losses["shallow-32, 784-32-784"].run == "run-1"


def test_publish_anyway_publishes_and_keeps_the_better_loss(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    manifest = complete(
        "run-2", model, dataset, root, WORSE, settings=RunParameters(publish_anyway=True)
    )
    assert published(dataset, root) == "run-2"
    assert manifest.verdict.reason.startswith("Published although 1 of 6 checks failed: Shallow")
    assert manifest.best_losses["shallow-32, 784-32-784"].run == "run-1"


def test_a_second_attempt_finds_what_the_first_completed(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    assert resume_publication("run-1", root) is None
    manifest = complete("run-1", model, dataset, root)
    assert resume_publication("run-1", root) == manifest
    refused = complete("run-2", model, dataset, root, WORSE)
    assert resume_publication("run-2", root) == refused
    assert published(dataset, root) == "run-1"


def test_a_late_second_attempt_does_not_push_aside_a_newer_run(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    with killed_before_the_switch():
        complete("run-1", model, dataset, root)
    better = METRICS.model_copy(update={"validation_loss": 0.29})
    manifest = complete("run-2", model, dataset, root, better)
    assert "no run was published before" in manifest.verdict.reason
    resume_publication("run-1", root)
    assert published(dataset, root) == "run-2"


def test_a_model_that_was_trained_again_to_the_same_weights_is_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """As by `--retrain` in a run or sweep beside this one; its record has other seconds."""
    earlier = model.model_copy(update={"seconds": 0.0})
    manifest = complete("run-1", earlier, dataset, root)
    assert manifest.models == (model,)
    check_files(run_folder("run-1", root), manifest.files)


def test_a_model_that_was_trained_again_to_other_weights_is_not_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """No retry of the step can cure that, a new attempt at the run does."""
    other = model.model_copy(update={"weights_sha256": "0" * 64})
    write_record(root / model.folder / "model.json", other)
    with pytest.raises(StepError, match="no longer holds the weights .* run once more") as failure:
        complete("run-1", model, dataset, root)
    assert not isinstance(failure.value, TransientError)


def test_a_run_is_refused_if_the_published_manifest_cannot_be_read(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    (run_folder("run-1", root) / "manifest.json").write_text("{}")
    refused = complete("run-2", model, dataset, root)
    assert refused.verdict.outcome == "refused"
    assert "published run cannot be read, so the losses cannot be" in refused.verdict.reason
    settings = RunParameters(publish_anyway=True)
    assert complete("run-3", model, dataset, root, settings=settings).verdict.published


def test_a_failed_clean_up_does_not_fail_a_run(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "locks" / "run-other.lock").mkdir(parents=True)  # no lock can be made there
    assert complete("run-1", model, dataset, root).verdict.published
    assert published(dataset, root) == "run-1"
    assert "The clean-up failed: " in caplog.text


def test_drift_of_the_images_is_measured_and_logged(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert complete("run-1", model, dataset, root).drift is None
    moved = SUMMARY.model_copy(update={"means": ((0.26, 0.46),)})
    pixels = BASELINES.pixels.model_copy(update={"summary": moved})
    baselines = BASELINES.model_copy(update={"pixels": pixels})
    drift = complete("run-2", model, dataset, root, baselines=baselines).drift
    assert drift is not None
    assert (drift.rival, drift.mean_shift) == ("run-1", 0.2)
    assert "drifted since run run-1: mean by 0.200 standard deviations" in caplog.text


def test_a_model_that_is_no_longer_published_is_logged(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete("run-1", model, dataset, root)
    assert "no codes of" not in caplog.text
    manifest = read_manifest(run_folder("run-1", root))
    metrics = {**manifest.metrics, "wide": METRICS}
    write_record(
        run_folder("run-1", root) / "manifest.json",
        manifest.model_copy(update={"metrics": metrics}),
    )
    complete("run-2", model, dataset, root, settings=RunParameters(quick=True))
    assert "no codes of" not in caplog.text, "a quick look takes nothing away"
    complete("run-3", model, dataset, root)
    assert "no codes of wide, which the published run run-1 has" in caplog.text


def test_a_complete_run_is_never_overwritten(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    with pytest.raises(StepError, match="complete already"):
        complete("run-1", model, dataset, root)
    check_files(run_folder("run-1", root), manifest.files)


def test_a_second_attempt_switches_if_the_first_was_killed_before(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    with killed_before_the_switch():
        complete("run-2", model, dataset, root)
    assert published(dataset, root) == "run-1"
    resume_publication("run-2", root)
    assert published(dataset, root) == "run-2"


class SlowClock(datetime):
    """A clock that was set back an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(hours=1)


def test_a_clock_that_was_set_back_does_not_hinder_a_second_attempt(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = complete("run-1", model, dataset, root)
    for module in ("publication", "journal", "retention", "gate"):
        monkeypatch.setattr(f"tasks.runs.{module}.datetime", SlowClock)
    with killed_before_the_switch():
        complete("run-2", model, dataset, root)
    second = resume_publication("run-2", root)
    assert second
    assert second.finished < first.finished
    assert second.previous == "run-1"
    assert published(dataset, root) == "run-2"
    complete("run-3", model, dataset, root)
    assert published(dataset, root) == "run-3"


def test_a_second_attempt_does_not_undo_that_somebody_went_back(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    publish("run-1", root)
    resume_publication("run-2", root)
    assert published(dataset, root) == "run-1"


def test_a_second_attempt_does_not_undo_a_later_publication(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    resume_publication("run-1", root)
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


def test_rollback_to_a_run_that_was_not_published_needs_anyway(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    complete("run-2", model, dataset, root, settings=RunParameters(quick=True))
    with pytest.raises(StepError, match="^Quick look: not published. Add --anyway to publish"):
        publish("run-2", root)
    publish("run-2", root, anyway=True)
    assert published(dataset, root) == "run-2"


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


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (RunParameters(), "Run run-2 is published. All 6 checks passed."),
        (RunParameters(quick=True), "Run run-2 is a quick look and is not published"),
    ],
)
def test_the_outcome_is_logged(
    settings: RunParameters,
    line: str,
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    complete("run-1", model, dataset, root)
    caplog.set_level(logging.INFO)
    complete("run-2", model, dataset, root, settings=settings)
    assert line in [record.message for record in caplog.records]


def test_a_run_of_version_0_1_0_is_published_again_with_the_digests_of_its_codes(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """Its manifest lacks them: they are computed."""
    manifest = complete("run-1", model, dataset, root)
    complete("run-2", model, dataset, root)
    earlier = manifest.model_copy(update={"codes_sha256": {}})
    write_record(run_folder("run-1", root) / "manifest.json", earlier)
    assert publish("run-1", root) == earlier
    last = read_journal(dataset.name, root).publications[-1]
    assert (last.run, last.codes_sha256) == ("run-1", manifest.codes_sha256)


def test_a_run_that_waits_for_a_person_is_not_finished(
    waiting: Manifest, dataset: DatasetRecord, root: Path
) -> None:
    assert waiting.verdict.waits
    assert published(dataset, root) == "run-1"
    assert not run_folder("run-2", root).exists()
    assert [run.run for run in read_journal(dataset.name, root).runs] == ["run-1"]
    assert read_waiting("run-2", root) == waiting
    assert "waiting" in (building_folder("run-2", root) / "report.html").read_text()


@pytest.mark.parametrize(
    ("decision", "outcome", "readers_get"),
    [
        ("publish", "published", "run-2"),
        ("refuse", "refused", "run-1"),
        ("time-out", "refused", "run-1"),
    ],
)
def test_a_person_s_decision_is_done_and_recorded(
    decision: str,
    outcome: str,
    readers_get: str,
    waiting: Manifest,
    dataset: DatasetRecord,
    root: Path,
) -> None:
    decided = settle_with(waiting, answer(waiting, decision, name="Ada"), root)
    assert decided == read_manifest(run_folder("run-2", root))
    assert decided.verdict.outcome == outcome
    assert decided.verdict.approval
    assert (decided.verdict.approval.answer, decided.verdict.approval.name) == (decision, "Ada")
    assert published(dataset, root) == readers_get
    summary = read_journal(dataset.name, root).runs[-1]
    assert (summary.outcome, summary.reason) == (outcome, decided.verdict.reason)
    assert outcome in (run_folder("run-2", root) / "report.html").read_text()
    check_files(run_folder("run-2", root), decided.files)
    assert not list((root / "runs").glob(".partial-*"))
    assert decided.started == waiting.started


@pytest.mark.parametrize(("loss", "outcome"), [(0.29, "refused"), (0.2995, "waiting")])
def test_an_approved_run_is_compared_anew_with_what_was_published_meanwhile(
    loss: float,
    outcome: str,
    waiting: Manifest,
    model: ModelRecord,
    dataset: DatasetRecord,
    root: Path,
) -> None:
    better = METRICS.model_copy(update={"validation_loss": loss})
    complete("run-3", model, dataset, root, better)
    again = settle_with(waiting, answer(waiting, "publish"), root)
    assert again.verdict.outcome == outcome
    assert published(dataset, root) == "run-3"
    if again.verdict.waits:
        decided = settle_with(again, answer(again, "publish"), root)
        assert decided.verdict.published
        assert published(dataset, root) == "run-2"


def test_what_a_waiting_run_needs_is_kept_as_long_as_it_waits(
    waiting: Manifest, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    approval = waiting.verdict.approval
    assert approval
    for run in ("run-1", "run-3"):  # nothing else needs the model and the images
        shutil.rmtree(run_folder(run, root), ignore_errors=True)
    (root / "locks" / "run-run-2.lock").unlink(missing_ok=True)
    delete_unneeded("run-9", timedelta(0), root)
    assert settle_with(waiting, answer(waiting, "publish"), root).verdict.published


def test_a_run_that_nobody_settled_is_deleted_after_its_time(waiting: Manifest, root: Path) -> None:
    approval = waiting.verdict.approval
    assert approval
    over = approval.model_copy(update={"until": datetime.now(UTC)})
    verdict = waiting.verdict.model_copy(update={"approval": over})
    path = building_folder("run-2", root) / ATTEMPT_FOLDER / WAITING_FILE
    write_record(path, waiting.model_copy(update={"verdict": verdict}))
    delete_unneeded("run-9", timedelta(0), root)
    assert read_waiting("run-2", root) is None
    assert not list((root / "runs").glob(".partial-*"))


def test_what_another_version_left_waiting_is_made_anew(waiting: Manifest, root: Path) -> None:
    path = building_folder("run-2", root) / ATTEMPT_FOLDER / WAITING_FILE
    write_record(path, waiting.model_copy(update={"derived_version": 1}))
    assert read_waiting("run-2", root) is None
