from pathlib import Path

import pytest

from flows.terminal.summary import print_outcome, print_report
from tasks.core.errors import command
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.runs.manifest import Outcome
from tests.conftest import BASELINES, METRICS, complete


def test_a_published_run_names_what_readers_get_and_its_report(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = complete("run-1", model, dataset, root)
    print_outcome(Outcome(manifest=manifest, unchanged=False))
    lines = capsys.readouterr().out.splitlines()
    assert f"Published: readers of {dataset.name} now get run run-1." in lines
    assert manifest.verdict.reason in " ".join(line.strip() for line in lines)
    assert lines[-1] == f"Report: {(root / 'runs' / 'run-1' / 'report.html').resolve().as_uri()}"
    rows = [line.split() for line in lines]
    (row,) = (row for row in rows if " ".join(row[4:7]) == "32 of 32")
    assert row[:2] == ["shallow", "0.3000"]
    assert ["shallow", "85.00%", "80.00%", "80.00%", "20.0", "of", "32"] in rows
    assert ["PCA-32", "85.00%", "80.00%", "80.00%", "-"] in rows
    assert max(map(len, lines[:-1])) <= 80


def test_without_labels_models_alone_have_a_row_of_worth(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = BASELINES.pca[0].model_copy(update={"probes": None})
    pixels = BASELINES.pixels.model_copy(update={"probes": None})
    baselines = BASELINES.model_copy(update={"pca": (bare,), "pixels": pixels})
    metrics = METRICS.model_copy(update={"probes": None, "classes": ()})
    manifest = complete("run-1", model, dataset, root, metrics, baselines=baselines)
    print_outcome(Outcome(manifest=manifest, unchanged=False))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["shallow", "-", "-", "-", "20.0", "of", "32"] in rows
    assert not [row for row in rows if row[:1] in (["PCA-32"], ["pixels"])]


def test_the_next_run_is_compared_with_the_best_published_one(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    complete("run-1", model, dataset, root)
    manifest = complete("run-2", model, dataset, root)
    print_outcome(Outcome(manifest=manifest, unchanged=True))
    shown = capsys.readouterr().out
    assert "Unchanged" in shown
    (row,) = (line for line in shown.splitlines() if "32 of 32" in line)
    assert row.split()[:4] == ["shallow", "0.3000", "-", "0.3000"]


def test_it_says_whether_stored_codes_stay_valid(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = complete("run-1", model, dataset, root)
    again = complete("run-2", model, dataset, root)
    assert model.basis
    line = f"  shallow, basis {model.basis[:12]}"
    for outcome, answer in (
        (Outcome(manifest=first, unchanged=False), "First basis, which later runs keep:"),
        (Outcome(manifest=first, unchanged=True), "Stored codes of this basis stay valid:"),
        (Outcome(manifest=again, unchanged=False), "Stored codes of this basis stay valid:"),
    ):
        print_outcome(outcome)
        lines = capsys.readouterr().out.splitlines()
        assert lines[lines.index(answer) + 1] == line
        assert sum("basis" in line for line in lines) == 2


def test_the_summary_and_the_report_answer_alike(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in ("run-1", "run-2"):
        print_outcome(Outcome(manifest=complete(run, model, dataset, root), unchanged=False))
        lines = capsys.readouterr().out.splitlines()
        position = next(row for row, line in enumerate(lines) if line.startswith("  shallow, b"))
        report = (root / "runs" / run / "report.md").read_text().splitlines()
        assert f"**{lines[position - 1]}** {lines[position].strip()}" in report


def test_a_quick_look_is_not_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = RunParameters(quick=True)
    manifest = complete("run-1", model, dataset, root, settings=quick)
    print_outcome(Outcome(manifest=manifest, unchanged=False))
    shown = capsys.readouterr().out
    assert "Quick look: everything works. Not published; nothing is published yet." in (
        shown.splitlines()
    )
    assert "basis" not in shown, "published codes are what they were"


def test_a_refusal_says_by_how_much_it_missed_and_what_to_do(
    model: ModelRecord, dataset: DatasetRecord, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    complete("run-1", model, dataset, root)
    worse = METRICS.model_copy(update={"validation_loss": 0.31})
    manifest = complete("run-2", model, dataset, root, worse)
    print_outcome(Outcome(manifest=manifest, unchanged=False))
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"Refused: not published; readers of {dataset.name} still get run run-1.")
    shown = " ".join(" ".join(lines[start:]).split())
    assert "1 of 6 checks failed: - Shallow loss 0.3100 is 16.67 % worse than the best" in shown
    assert "5 % allowed" in shown
    assert "raise --tolerance" in shown
    assert f"publish it anyway {command('tasks.runs publish run-2 --anyway')}" in shown
    assert f"compare no longer with run-1 {command('tasks.runs retire run-1')}" in shown
    assert lines[-1].startswith("Report: file:///")


def test_a_report_is_printed_without_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.md"
    path.write_text(
        "# Sweep\n\n| model | loss |\n| --- | --- |\n| deep | 0.27 |\n\n![Chart](a.png)\n"
    )
    print_report(path)
    shown = capsys.readouterr().out
    assert "deep" in shown
    assert "0.27" in shown
    assert "a.png" not in shown
    assert "Chart" not in shown
    assert str(tmp_path) in shown
