import logging
import os
from collections.abc import Iterator

import httpx
import pytest

from flows.terminal.failures import filter_logs, is_no_retracing, is_unexpected
from tasks.core.errors import StepError


def test_only_tensorflow_s_warning_of_retracing_is_hidden() -> None:
    shown_by_text = {
        "6 out of the last 6 calls to %s triggered tf.function retracing. Tracing is": False,
        "The optimizer is gone": True,
    }
    for text, shown in shown_by_text.items():
        record = logging.LogRecord("tensorflow", logging.WARNING, "", 0, text, (), None)
        assert is_no_retracing(record) is shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (StepError("x"), False),
        (OSError(28, "x"), False),
        (httpx.ReadTimeout("x"), False),
        (KeyError("x"), True),
    ],
)
def test_only_bugs_show_their_traceback(error: Exception, shown: bool) -> None:
    record = logging.LogRecord("prefect.task_runs", logging.ERROR, "", 0, "%r", (error,), None)
    record.exc_info = (type(error), error, None)
    assert is_unexpected(record) is shown


@pytest.fixture
def logs_filtered() -> Iterator[None]:
    """Undo afterwards what would hold for every later test."""
    make_record = logging.getLogRecordFactory()
    filter_logs()
    yield
    logging.setLogRecordFactory(make_record)


def test_a_line_with_bytes_that_are_no_utf_8_can_be_sent(
    logs_filtered: None, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("tasks.any").warning("Ignored %s, %d bytes", os.fsdecode(b"caf\xe9"), 3)
    logging.getLogger("tasks.any").warning("%s", "naïve")
    assert caplog.messages == ["Ignored caf\\udce9, 3 bytes", "naïve"]
