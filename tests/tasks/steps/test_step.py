import logging

import pytest
from prefect import flow

from tasks.core.errors import StepError, TransientError
from tasks.steps import step as step_module
from tasks.steps.step import step

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize(
    ("error", "attempts"), [(TransientError("no answer"), 4), (StepError("wrong data"), 1)]
)
def test_a_step_is_retried_after_a_transient_failure(
    error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "DELAYS", [0, 0, 0])
    made = []

    @step("Try")
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
    def describe(number: int) -> str:
        return f"twice is {number}"

    @step("Double {number}", describe)
    def double(number: int) -> int:
        return 2 * number

    @step("Do nothing")
    def nothing() -> None:
        pass

    @flow
    def working() -> int:
        nothing()
        return double(21)

    caplog.set_level(logging.INFO)
    assert working() == 42
    lines = [record.getMessage() for record in caplog.records if record.name == "tasks.steps.step"]
    assert lines == ["Do nothing: 0.0 s", "Double 21: twice is 42, 0.0 s"]
