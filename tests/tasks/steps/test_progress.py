import logging
import threading
import time
from typing import Any

import pytest
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.core.records import EpochRecord
from tasks.models.checkpoints import Progress
from tasks.steps import progress
from tasks.steps.observer import Observer, StepLabel, StepProgress, observed_by
from tasks.steps.progress import (
    describe_progress,
    progress_artifact,
    tell_progress,
)
from tests.prefect_server import artifacts_of, shown_by
from tests.waiting import SOON, wait_until

HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)
MIDDLE = Progress(steps_done=5, steps=10, epochs_done=1, epochs=2, history=HISTORY)
NOWHERE = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}


@pytest.fixture(autouse=True)
def updates_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "ARTIFACT_SECONDS", 0.02)


def test_the_epoch_under_way_is_counted_from_one() -> None:
    start = MIDDLE._replace(steps_done=1, epochs_done=0, history=())
    assert describe_progress(start) == "epoch 1 of 2"
    assert describe_progress(MIDDLE) == "epoch 2 of 2, loss 0.3100"
    end = MIDDLE._replace(steps_done=10, epochs_done=2)
    assert describe_progress(end) == "epoch 2 of 2, loss 0.3100"


def test_progress_is_a_few_lines_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    report = progress.log_progress("shallow model")
    for seconds, steps in ((1, 100), (11, 200), (12, 210), (201, 300), (400, 1000)):
        now = float(seconds)
        report(MIDDLE._replace(steps_done=steps, steps=1000))
    assert [record.getMessage() for record in caplog.records] == [
        "shallow model: epoch 2 of 2, loss 0.3100, 80 s left",
        "shallow model: epoch 2 of 2, loss 0.3100, 12 min left",
        "shallow model: epoch 2 of 2, loss 0.3100",
    ]


def test_the_observer_is_told_how_far_the_step_has_come() -> None:
    told: list[tuple[StepLabel, StepProgress]] = []

    class Recorder(Observer):
        def step_progressed(self, label: StepLabel, progress: StepProgress) -> None:
            told.append((label, progress))

    with observed_by(Recorder()):
        report = tell_progress()
        report(MIDDLE)
    assert told == [(StepLabel(""), StepProgress(5, 10, "epoch 2 of 2, loss 0.3100", None))]


def test_the_time_left_of_a_resumed_training_counts_no_steps_of_earlier_attempts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """900 steps were made before, and then one a second."""
    caplog.set_level(logging.INFO)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    report = progress.log_progress("deep model")
    for now, steps in ((20.0, 901), (31.0, 912)):  # noqa: B007 - the clock reads it
        report(MIDDLE._replace(steps_done=steps, steps=1000))
    first, second = (record.getMessage() for record in caplog.records)
    assert "left" not in first  # nothing to compute it from
    assert second.endswith(", 88 s left")


def wait_for_updates() -> None:
    """Wait until the last update of an artifact was made."""
    for thread in threading.enumerate():
        if thread.name.startswith("progress"):
            thread.join(SOON)


@pytest.mark.usefixtures("prefect_server")
def test_progress_moves_and_ends_at_the_end() -> None:
    def train() -> None:
        def report_until_shown(steps: int) -> None:
            def is_shown() -> bool:
                report(MIDDLE._replace(steps_done=steps))
                return percent() == 10 * steps

            wait_until(is_shown)

        with progress_artifact("my_model") as report:
            report_until_shown(2)
            report_until_shown(5)
            report(MIDDLE._replace(steps_done=10))
        wait_for_updates()

    def percent() -> float | None:
        shown = artifacts_of(str(flow_run.get_id())).get("training-my-model")
        return shown["data"] if shown else None

    shown = shown_by(train)["training-my-model"]
    assert shown["type"] == "progress"
    assert shown["data"] == 100.0
    assert shown["description"] == "My_model model, 100 %: epoch 2 of 2, loss 0.3100"


def test_a_training_never_waits_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: Any) -> str:
        answered.wait()
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
