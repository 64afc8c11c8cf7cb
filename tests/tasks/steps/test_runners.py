import threading
import time
from collections.abc import Callable

import pytest
from prefect import flow

from tasks.core.errors import StepError
from tasks.steps.runners import fan_out, gather, watch_for_stop
from tasks.steps.step import step
from tests.waiting import SOON, wait_until


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


@step("Double {number}", "work")
def double(number: int, pause: float = 0.0) -> int:
    time.sleep(pause)
    return 2 * number


@pytest.mark.usefixtures("prefect_server")
def test_results_come_in_the_order_of_submission() -> None:
    def work() -> list[int]:
        with fan_out():
            return gather([double.submit(n, pause=0.4 - 0.1 * n) for n in range(4)])

    assert in_flow(work) == [0, 2, 4, 6]


@pytest.mark.usefixtures("prefect_server")
def test_a_failure_is_raised_when_the_others_have_ended() -> None:
    ended = []

    @step("Work {number}", "work")
    def work(number: int) -> None:
        if number == 0:
            raise StepError("wrong data")
        time.sleep(0.3)
        ended.append(number)

    def fan() -> None:
        with fan_out():
            gather([work.submit(number) for number in range(3)])

    with pytest.raises(StepError, match="wrong data"):
        in_flow(fan)
    assert sorted(ended) == [1, 2]


@pytest.mark.usefixtures("prefect_server")
def test_steps_run_at_the_same_time() -> None:
    both = threading.Barrier(2)

    @step("Meet", "work")
    def meet() -> int:
        return both.wait(SOON)

    def work() -> list[int]:
        with fan_out():
            return sorted(gather([meet.submit() for _ in range(2)]))

    assert in_flow(work) == [0, 1]


@pytest.mark.usefixtures("prefect_server")
def test_an_interruption_reaches_the_threads() -> None:
    started, noticed = threading.Event(), threading.Event()

    @step("Work until the flow ends", "work")
    def work() -> None:
        is_stopping = watch_for_stop()
        started.set()
        wait_until(is_stopping)
        noticed.set()

    def fan() -> None:
        with fan_out():
            work.submit()
            assert started.wait(SOON)
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        in_flow(fan)
    assert noticed.is_set()


def test_a_step_outside_a_fan_out_is_not_told_to_stop() -> None:
    assert not watch_for_stop()()


def test_a_fan_out_needs_a_flow() -> None:
    with pytest.raises(RuntimeError, match="in a flow"), fan_out():
        pass
