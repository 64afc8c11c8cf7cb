import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from tasks.codes.published import published_link, run_folder
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs import publication
from tasks.runs.journal import read_journal
from tasks.runs.outbox import confirm, find_unannounced, record_announcement
from tasks.runs.publication import publish
from tests.conftest import complete


class KilledError(Exception):
    """Stands for the end of the process."""


def published_runs(dataset: DatasetRecord, root: Path) -> list[str]:
    return [entry.run for entry in read_journal(dataset.name, root).publications]


def test_a_publication_is_unannounced_until_that_is_recorded(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    assert find_unannounced(dataset.name, root) is None
    manifest = complete("run-1", model, dataset, root)
    assert find_unannounced(dataset.name, root) == manifest
    record_announcement(manifest, root)
    assert find_unannounced(dataset.name, root) is None
    complete("run-2", model, dataset, root)
    publish("run-1", root)
    assert find_unannounced(dataset.name, root) == manifest


def test_a_switch_whose_process_was_killed_is_recorded_by_the_next(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    record_announcement(complete("run-1", model, dataset, root), root)
    with (
        mock.patch.object(publication, "record_publication", side_effect=KilledError),
        pytest.raises(KilledError),
    ):
        complete("run-2", model, dataset, root)
    assert published_runs(dataset, root) == ["run-1"]
    second = find_unannounced(dataset.name, root)
    assert second is not None
    assert second.run == "run-2"
    last = read_journal(dataset.name, root).publications[-1]
    assert (last.run, last.codes_sha256) == ("run-2", second.codes_sha256)
    assert datetime.now(UTC) - last.time < timedelta(minutes=5)
    complete("run-3", model, dataset, root)
    assert published_runs(dataset, root) == ["run-1", "run-2", "run-3"]


def test_a_journal_that_lacks_the_published_run_keeps_its_history(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """An older copy of it was restored."""
    journal = root / "publications" / f"{dataset.name}.json"
    complete("run-1", model, dataset, root)
    old = journal.read_bytes()
    complete("run-2", model, dataset, root)
    journal.write_bytes(old)
    complete("run-3", model, dataset, root)
    assert published_runs(dataset, root) == ["run-1", "run-2", "run-3"]
    journal.unlink()
    complete("run-4", model, dataset, root)
    assert published_runs(dataset, root) == ["run-3", "run-4"]


def test_a_journal_without_a_link_keeps_its_history(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-1", model, dataset, root)
    published_link(dataset.name, root).unlink()
    assert find_unannounced(dataset.name, root) is None
    complete("run-2", model, dataset, root)
    assert published_runs(dataset, root) == ["run-1", "run-2"]


def test_a_folder_in_place_of_the_link_is_told_with_the_way_out(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """`cp -rL` and object storage follow links."""
    complete("run-1", model, dataset, root)
    link = published_link(dataset.name, root)
    link.unlink()
    shutil.copytree(run_folder("run-1", root), link)
    expected = "is not a link: .* Move it out of the folder, then publish .* tasks.runs publish RUN"
    with pytest.raises(StepError, match=expected):
        find_unannounced(dataset.name, root)
    with pytest.raises(StepError, match=expected):
        complete("run-2", model, dataset, root)
    assert published_runs(dataset, root) == ["run-1"]
    shutil.rmtree(link)
    publish("run-1", root)
    assert published_runs(dataset, root) == ["run-1"]
    assert link.readlink() == Path("../runs/run-1")


def test_a_published_run_that_cannot_be_read_is_not_announced(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete("run-1", model, dataset, root)
    (run_folder("run-1", root) / "manifest.json").write_text("{")
    assert find_unannounced(dataset.name, root) is None
    assert "The published run cannot be announced: " in caplog.text


def test_only_what_is_published_is_confirmed(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    first = complete("run-1", model, dataset, root)
    assert read_journal(dataset.name, root).confirmed is None
    assert confirm(first, root)
    confirmed = read_journal(dataset.name, root).confirmed
    assert confirmed is not None
    assert confirmed > first.finished
    complete("run-2", model, dataset, root)
    assert not confirm(first, root)  # another run took its place meanwhile
    assert read_journal(dataset.name, root).confirmed == confirmed
