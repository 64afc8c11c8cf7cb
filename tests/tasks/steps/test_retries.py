import pytest
from prefect import flow
from prefect.states import Failed

from tasks.core.errors import RefusedError, StepError, TransientError
from tasks.steps import retrain as steps
from tasks.steps.retrain import step
from tasks.steps.retries import is_transient


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (TransientError("no answer"), True),
        (ConnectionResetError("x"), True),
        (TimeoutError("x"), True),
        (PermissionError("x"), False),
        (IsADirectoryError("x"), False),
        (StepError("wrong data"), False),
        (RefusedError("too bad"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error: Exception, transient: bool) -> None:
    assert is_transient(None, None, Failed(data=error)) is transient


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("error", "attempts"), [(TransientError("no answer"), 4), (StepError("wrong data"), 1)]
)
def test_prefect_tries_again_as_told(
    error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "DELAYS", [0, 0, 0])
    made = []

    @step("Try")
    def attempt() -> None:
        made.append(1)
        raise error

    @flow(name="trying")
    def trying() -> None:
        attempt()

    with pytest.raises(type(error)):
        trying()
    assert len(made) == attempts
