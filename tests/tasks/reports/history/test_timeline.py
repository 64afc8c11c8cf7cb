from pathlib import Path

import pytest

from tasks.reports.history.events import read_history
from tasks.reports.history.timeline import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Timeline,
    draw_timelines,
)
from tasks.runs.journal import Journal, RunSummary
from tests.tasks.reports.history.example import WEEK, publication, run, write_journal


def draw(root: Path, *runs: RunSummary) -> list[Timeline]:
    write_journal(Journal(runs=runs), root)
    return draw_timelines(read_history("boots", root))


def test_lower_losses_are_drawn_lower_and_later_runs_to_the_right(root: Path) -> None:
    losses, accuracies = draw(root, run(0, 0.28), run(1, 0.27), run(2, 0.275))
    first, second, third = losses.marks
    assert first.x < second.x < third.x
    assert first.y < third.y < second.y  # SVG counts from the top
    assert losses.title == "deep: loss (lower is better)"
    assert accuracies.marks[0].y == accuracies.marks[1].y


def test_a_run_far_outside_is_drawn_at_the_edge_and_squeezes_nothing(root: Path) -> None:
    losses, _ = draw(root, run(0, 0.270), run(1, 0.265), run(2, 0.5, "refused"), run(3, 0.268))
    heights = [mark.y for mark in losses.marks]
    assert heights[2] == TOP
    assert max(heights) - heights[0] > (HEIGHT - TOP - BOTTOM) / 3
    assert "0.5000" in losses.marks[2].text
    assert len(losses.points.split()) == 3  # the line leads through what was published


def test_quick_looks_are_left_out_and_accuracies_without_labels(root: Path) -> None:
    quick = run(1, 0.4, "quick look")
    (losses,) = draw(root, run(0, 0.27, accuracy=None), quick)
    assert len(losses.marks) == 1
    assert losses.marks[0].x == pytest.approx((LEFT + WIDTH - RIGHT) / 2)


def test_without_runs_there_is_no_chart(root: Path) -> None:
    assert draw(root) == []


def test_a_rollback_is_marked_between_the_runs_before_and_after_it(root: Path) -> None:
    runs = (run(0, 0.27), run(1, 0.28), run(2, 0.27))
    entries = (*map(publication, runs[:2]), publication(runs[0], 1.5 * WEEK), publication(runs[2]))
    write_journal(Journal(publications=entries, runs=runs), root)
    losses = draw_timelines(read_history("boots", root))[0]
    (rollback,) = losses.rollbacks
    assert losses.marks[1].x < rollback.at < losses.marks[2].x
    assert "00000000 published again" in rollback.label
