import errno
import logging
import re

import pytest
from prefect import flow
from prefect.states import Failed

from tasks.core.errors import RefusedError, StepError, TransientError
from tasks.steps import step as step_module
from tasks.steps.observer import Facts, Observer, StepLabel, observed_by
from tasks.steps.step import is_transient, step

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize(
    ("error", "attempts"), [(TransientError("no answer"), 4), (StepError("wrong data"), 1)]
)
def test_a_step_is_retried_after_a_transient_failure(
    error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "DELAYS", [0, 0, 0])
    made = []

    @step("Try", "try")
    def attempt() -> None:
        made.append(1)
        raise error

    @flow
    def trying() -> None:
        attempt()

    with pytest.raises(type(error)):
        trying()
    assert len(made) == attempts


def test_a_step_logs_its_name_its_result_and_its_seconds(caplog: pytest.LogCaptureFixture) -> None:
    def describe(number: int) -> Facts:
        return Facts("twice is", str(number))

    @step("Double {number}", "double", describe)
    def double(number: int) -> int:
        return 2 * number

    @step("Do nothing", "rest")
    def nothing() -> None:
        pass

    @flow
    def working() -> int:
        nothing()
        return double(21)

    caplog.set_level(logging.INFO)
    assert working() == 42
    lines = [record.getMessage() for record in caplog.records if record.name == "tasks.steps.step"]
    first, second = (re.sub(r"\d+\.\d s$", "", line) for line in lines)
    assert (first, second) == ("Do nothing: ", "Double 21: twice is, 42, ")


class Recorder(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def step_began(self, label: StepLabel) -> None:
        self.told.append(("began", label))

    def step_ended(self, label: StepLabel, facts: Facts, seconds: float) -> None:
        self.told.append(("ended", label, facts))

    def step_failed(
        self, label: StepLabel, error: BaseException, seconds: float, again: bool
    ) -> None:
        self.told.append(("failed", label, str(error), again))


def test_the_observer_is_told_of_each_step_and_of_each_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_module, "RETRIES", 1)
    monkeypatch.setattr(step_module, "DELAYS", [0])

    @step("Double {number}", "double", lambda found: Facts(number=str(found)), "number {number}")
    def double(number: int) -> int:
        return 2 * number

    @step("Ask", "ask")
    def ask() -> None:
        raise TransientError("no answer")

    @flow
    def working() -> None:
        double(21)
        ask()

    recorder = Recorder()
    with pytest.raises(TransientError), observed_by(recorder):
        working()
    number, asking = StepLabel("double", "number 21"), StepLabel("ask")
    assert recorder.told == [
        ("began", number),
        ("ended", number, Facts(number="42")),
        ("began", asking),
        ("failed", asking, "no answer", True),
        ("began", asking),
        ("failed", asking, "no answer", False),
    ]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (TransientError("no answer"), True),
        (ConnectionResetError("x"), True),
        (TimeoutError("x"), True),
        (PermissionError("x"), False),
        (IsADirectoryError("x"), False),
        (OSError(errno.EIO, "x"), True),
        (OSError(errno.EBUSY, "x"), True),
        (OSError(errno.ESTALE, "x"), True),
        (OSError("x"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EROFS, "x"), False),
        (OSError(errno.EINVAL, "x"), False),
        (StepError("wrong data"), False),
        (RefusedError("too bad"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_failures_that_may_pass_are_retried(error: Exception, transient: bool) -> None:
    assert is_transient(None, None, Failed(data=error)) is transient
