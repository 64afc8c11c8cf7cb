import logging
from pathlib import Path

import pytest

from tasks.reports.history.page import PAGE_FILE, render_history, write_page
from tasks.runs.journal import Journal
from tests.tasks.reports.history.example import publication, run, write_journal


def test_a_page_shows_every_dataset_and_runs_no_script(root: Path) -> None:
    first, bad = run(0, 0.27), run(1, 0.29, "refused", "deep: <b>worse</b>")
    write_journal(Journal(publications=(publication(first),), runs=(first, bad)), root)
    write_journal(Journal(), root, "fashion-mnist")
    write_page(root)
    page = (root / PAGE_FILE).read_text()
    assert "Readers get run 00000000-aaaa" in page
    assert "overdue from" in page
    assert "2026-06-15 03:00 UTC" in page  # eight days after the publication
    assert "Nothing is published" in page
    assert "deep: &lt;b&gt;worse&lt;/b&gt;" in page
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert "http" not in page


def test_an_empty_artifacts_folder_has_a_page_too(root: Path) -> None:
    write_page(root)
    assert "No run has ended yet" in (root / PAGE_FILE).read_text()


def test_a_damaged_journal_fails_no_run(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_journal(Journal(), root)
    (root / "publications" / "boots.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        write_page(root)
    assert "index.html was not written" in caplog.text


def test_prefect_gets_the_newest_events_as_a_table(root: Path) -> None:
    runs = tuple(run(number, 0.27) for number in range(30))
    write_journal(Journal(publications=tuple(map(publication, runs)), runs=runs), root)
    text = render_history("boots", root)
    rows = [line for line in text.splitlines() if line.startswith("| 20")]
    assert len(rows) == 20
    assert "00000029" in rows[0]
    assert "deep 0.2700" in rows[0]
