import io
import logging
import time

import pytest
from rich.console import Console

from tasks.core.records import EpochRecord
from tasks.models.state import Progress
from tasks.steps import progress
from tasks.steps.progress import describe_progress, show_progress
from tests.conftest import SPEC

HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)
MIDDLE = Progress(steps_done=5, steps=10, epochs_done=1, epochs=2, history=HISTORY)


def test_the_epoch_under_way_is_counted_from_one() -> None:
    start = MIDDLE._replace(steps_done=1, epochs_done=0, history=())
    assert describe_progress(start) == "epoch 1 of 2"
    assert describe_progress(MIDDLE) == "epoch 2 of 2, loss 0.3000, validation loss 0.3100"
    end = MIDDLE._replace(steps_done=10, epochs_done=2)
    assert describe_progress(end) == "epoch 2 of 2, loss 0.3000, validation loss 0.3100"


def test_progress_is_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(progress, "log_console", lambda: console)
    with show_progress(SPEC) as report:
        report(MIDDLE)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "shallow model" in shown
    assert "epoch 2 of 2" in shown
    assert "loss 0.3000, validation loss 0.3100" in shown


def test_progress_is_a_few_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "log_console", lambda: Console(file=io.StringIO()))
    clock = iter([0.0, 5.0, 11.0, 12.0, 200.0, 400.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with show_progress(SPEC) as report:
        for _ in range(4):
            report(MIDDLE)
        report(MIDDLE._replace(steps_done=10, epochs_done=2))
    assert [record.getMessage() for record in caplog.records] == [
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100, 11 s left",
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100, 3 min left",
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100",
    ]
