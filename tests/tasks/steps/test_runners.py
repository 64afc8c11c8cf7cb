import threading
import time
from collections.abc import Callable

import pytest
from prefect import flow

from tasks.core.errors import StepError
from tasks.steps.retrain import step
from tasks.steps.runners import fan_out, gather, read_settings, watch_for_abandonment


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's variables and cores."""
    for name in ("RUNNER", "DASK_SCHEDULER"):
        monkeypatch.delenv(f"AUTOENCODER_{name}", raising=False)
    monkeypatch.setenv("AUTOENCODER_WORKERS", "2")


def in_flow(work: Callable[[], object]) -> object:
    @flow(name="fanning-out")
    def fanning_out() -> object:
        return work()

    return fanning_out()


@step("Double {number}")
def double(number: int, pause: float = 0.0) -> int:
    time.sleep(pause)
    return 2 * number


def test_threads_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOENCODER_WORKERS")
    settings = read_settings()
    assert settings.runner == "threads"
    assert settings.workers >= 1
    assert settings.dask_scheduler is None


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"RUNNER": "cloud"}, "runner: Input should be 'threads' or 'dask', found 'cloud'"),
        ({"WORKERS": "0"}, "workers: Input should be greater than or equal to 1, found '0'"),
        ({"RUNNER": "dask", "DASK_SCHEDULER": "host:8786"}, "dask_scheduler: String should match"),
        ({"DASK_SCHEDULER": "tcp://host:8786"}, "set AUTOENCODER_RUNNER to dask too"),
    ],
)
def test_a_wrong_deployment_is_told_in_one_line(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"AUTOENCODER_{name}", value)
    with pytest.raises(StepError, match="AUTOENCODER_") as failure:
        read_settings()
    assert reason in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.usefixtures("prefect_server")
def test_results_come_in_the_order_of_submission() -> None:
    def work() -> list[int]:
        with fan_out() as runner:
            return gather([runner.submit(double, n, pause=0.4 - 0.1 * n) for n in range(4)])

    assert in_flow(work) == [0, 2, 4, 6]


@pytest.mark.usefixtures("prefect_server")
def test_a_failure_is_raised_when_the_others_have_ended() -> None:
    ended = []

    @step("Work {number}")
    def work(number: int) -> None:
        if number == 0:
            raise StepError("wrong data")
        time.sleep(0.3)
        ended.append(number)

    def fan() -> None:
        with fan_out() as runner:
            gather([runner.submit(work, number) for number in range(3)])

    with pytest.raises(StepError, match="wrong data"):
        in_flow(fan)
    assert ended == [1, 2]


@pytest.mark.usefixtures("prefect_server")
def test_an_interruption_reaches_the_threads() -> None:
    started, noticed = threading.Event(), threading.Event()

    @step("Work until nobody waits")
    def work() -> None:
        abandoned = watch_for_abandonment()
        started.set()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if abandoned():
                noticed.set()
                return
            time.sleep(0.01)

    def fan() -> None:
        with fan_out() as runner:
            runner.submit(work)
            assert started.wait(20)
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        in_flow(fan)
    assert noticed.is_set()


def test_a_step_that_is_called_is_never_abandoned() -> None:
    assert not watch_for_abandonment()()
