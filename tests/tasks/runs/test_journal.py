import json
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.records import CodesSha256
from tasks.runs.journal import read_journal, record_publication, superseded_at


def runs(root: Path) -> list[str]:
    return [entry.run for entry in read_journal("mine", root).publications]


def publish(root: Path, *names: str) -> None:
    """One after the other, each switch done."""
    current = None
    for run in names:
        record_publication(run, "mine", root, current, codes_sha256={})
        current = run


def test_a_run_is_superseded_when_the_next_is_published(root: Path) -> None:
    assert superseded_at("a", "mine", root) is None
    publish(root, "a", "a", "b", "c", "b")
    assert runs(root) == ["a", "b", "c", "b"]
    times = [entry.time for entry in read_journal("mine", root).publications]
    assert superseded_at("a", "mine", root) == times[1]
    assert superseded_at("c", "mine", root) == times[3]
    assert superseded_at("b", "mine", root) is None
    assert read_journal("other", root).publications == ()


def test_a_switch_that_never_happened_supersedes_nothing(root: Path) -> None:
    """B is killed between the journal and its switch; c is published later."""
    publish(root, "a")
    record_publication("b", "mine", root, current="a", codes_sha256={})
    record_publication("c", "mine", root, current="a", codes_sha256={})
    assert runs(root) == ["a", "c"]
    assert superseded_at("a", "mine", root) == read_journal("mine", root).publications[1].time


def test_a_lost_journal_still_protects_what_is_published_now(root: Path) -> None:
    record_publication("b", "mine", root, current="a", codes_sha256={})
    assert runs(root) == ["a", "b"]
    assert superseded_at("a", "mine", root) is not None


def test_an_error_for_a_damaged_journal_says_what_to_do(root: Path) -> None:
    (root / "publications").mkdir()
    (root / "publications" / "mine.json").write_text("{")
    with pytest.raises(StepError, match=r"mine\.json is damaged: remove it"):
        record_publication("a", "mine", root, current=None, codes_sha256={})


def test_a_journal_of_version_0_1_0_is_read_and_continued(root: Path) -> None:
    (root / "publications").mkdir()
    entry = {"run": "a", "time": "2026-01-05T06:00:00Z"}
    (root / "publications" / "mine.json").write_text(json.dumps({"publications": [entry]}))
    assert read_journal("mine", root).publications[0].codes_sha256 == {}
    digests: CodesSha256 = {"deep": {"test": "d" * 64}}
    record_publication("b", "mine", root, current="a", codes_sha256=digests)
    assert [found.codes_sha256 for found in read_journal("mine", root).publications] == [
        {},
        digests,
    ]
