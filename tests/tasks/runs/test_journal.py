import json
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.records import CodesSha256
from tasks.runs.journal import (
    mark_announced,
    read_journal,
    record_publication,
    superseded_at,
)


def runs(root: Path) -> list[str]:
    return [entry.run for entry in read_journal("mine", root).publications]


def publish(root: Path, *names: str) -> None:
    """One after the other."""
    for run in names:
        record_publication(run, "mine", root, codes_sha256={})


def test_a_run_is_superseded_when_the_next_is_published(root: Path) -> None:
    assert superseded_at("a", "mine", root) is None
    publish(root, "a", "a", "b", "c", "b")
    assert runs(root) == ["a", "b", "c", "b"]
    times = [entry.time for entry in read_journal("mine", root).publications]
    assert superseded_at("a", "mine", root) == times[1]
    assert superseded_at("c", "mine", root) == times[3]
    assert superseded_at("b", "mine", root) is None
    assert read_journal("other", root).publications == ()


def test_an_announcement_is_recorded_for_the_last_publication_alone(root: Path) -> None:
    publish(root, "a", "b")
    mark_announced("a", "mine", root)  # too late: nobody needs to hear of it any more
    assert [entry.announced for entry in read_journal("mine", root).publications] == [False, False]
    mark_announced("b", "mine", root)
    assert [entry.announced for entry in read_journal("mine", root).publications] == [False, True]
    publish(root, "b", "a")
    assert [entry.announced for entry in read_journal("mine", root).publications] == [
        False,
        True,
        False,
    ]


def test_an_error_for_a_damaged_journal_says_what_to_do(root: Path) -> None:
    (root / "publications").mkdir()
    (root / "publications" / "mine.json").write_text("{")
    with pytest.raises(StepError, match=r"mine\.json is damaged: remove it"):
        record_publication("a", "mine", root, codes_sha256={})


def test_a_journal_of_version_0_1_0_is_read_and_continued(root: Path) -> None:
    (root / "publications").mkdir()
    entry = {"run": "a", "time": "2026-01-05T06:00:00Z"}
    (root / "publications" / "mine.json").write_text(json.dumps({"publications": [entry]}))
    (earlier,) = read_journal("mine", root).publications
    assert (earlier.codes_sha256, earlier.announced) == ({}, True)
    digests: CodesSha256 = {"deep": {"test": "d" * 64}}
    record_publication("b", "mine", root, codes_sha256=digests)
    assert [found.codes_sha256 for found in read_journal("mine", root).publications] == [
        {},
        digests,
    ]
