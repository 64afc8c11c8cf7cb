import io
import logging
import threading
import time
from typing import Any

import pytest
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from rich.console import Console

from tasks.core.records import EpochRecord
from tasks.models.checkpoints import Progress
from tasks.steps import progress
from tasks.steps.progress import describe_progress, progress_artifact, terminal_progress
from tests.prefect_server import artifacts_of, shown_by

HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)
MIDDLE = Progress(steps_done=5, steps=10, epochs_done=1, epochs=2, history=HISTORY)
NOWHERE = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}


@pytest.fixture(autouse=True)
def updates_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "ARTIFACT_SECONDS", 0.02)


def test_the_epoch_under_way_is_counted_from_one() -> None:
    start = MIDDLE._replace(steps_done=1, epochs_done=0, history=())
    assert describe_progress(start) == "epoch 1 of 2"
    assert describe_progress(MIDDLE) == "epoch 2 of 2, loss 0.3000, validation loss 0.3100"
    end = MIDDLE._replace(steps_done=10, epochs_done=2)
    assert describe_progress(end) == "epoch 2 of 2, loss 0.3000, validation loss 0.3100"


def test_progress_is_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(progress, "log_console", lambda: console)
    with terminal_progress("shallow") as report:
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
    clock = iter([0.0, 1.0, 11.0, 12.0, 201.0, 400.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with terminal_progress("shallow") as report:
        for steps in (100, 200, 210, 300, 1000):
            report(MIDDLE._replace(steps_done=steps, steps=1000))
    assert [record.getMessage() for record in caplog.records] == [
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100, 80 s left",
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100, 12 min left",
        "shallow model: epoch 2 of 2, loss 0.3000, validation loss 0.3100",
    ]


def test_the_time_left_of_a_resumed_training_counts_no_steps_of_earlier_attempts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """900 steps were made before, and then one a second."""
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 20.0, 31.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    report = progress.log_progress("deep model")
    report(MIDDLE._replace(steps_done=901, steps=1000))
    report(MIDDLE._replace(steps_done=912, steps=1000))
    first, second = (record.getMessage() for record in caplog.records)
    assert "left" not in first  # nothing to compute it from
    assert second.endswith(", 88 s left")


def wait_for_updates() -> None:
    """Wait until the last update of an artifact was made."""
    for thread in threading.enumerate():
        if thread.name.startswith("progress"):
            thread.join(10)


@pytest.mark.usefixtures("prefect_server")
def test_progress_moves_and_ends_at_the_end() -> None:
    def train() -> None:
        with progress_artifact("my_model") as report:
            for steps in (2, 5):
                end = time.monotonic() + 20
                while percent() != 10 * steps and time.monotonic() < end:
                    report(MIDDLE._replace(steps_done=steps))
                    time.sleep(0.05)
                assert percent() == 10 * steps
            report(MIDDLE._replace(steps_done=10))
        wait_for_updates()

    def percent() -> float | None:
        shown = artifacts_of(str(flow_run.get_id())).get("training-my-model")
        return shown["data"] if shown else None

    shown = shown_by(train)["training-my-model"]
    assert shown["type"] == "progress"
    assert shown["data"] == 100.0
    assert shown["description"] == (
        "my_model model: epoch 2 of 2, loss 0.3000, validation loss 0.3100"
    )


def test_a_training_never_waits_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: Any) -> str:
        answered.wait(20)
        return "00000000-0000-0000-0000-000000000001"

    monkeypatch.setattr(progress, "create_progress_artifact", hang)
    monkeypatch.setattr(progress, "update_progress_artifact", lambda *_: None)
    started = time.monotonic()
    with progress_artifact("deep") as report:
        for steps in range(10):
            report(MIDDLE._replace(steps_done=steps))
    assert time.monotonic() - started < 5
    answered.set()
    wait_for_updates()


def test_an_api_that_fails_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with temporary_settings(NOWHERE):
        with progress_artifact("deep") as report:
            report(MIDDLE)
        wait_for_updates()
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert all(line.startswith("Could not show the training's progress in") for line in lines)
    assert "\n" not in lines[0]
