import logging

import pytest

from flows.terminal.failures import is_no_retracing, is_unexpected
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
    ("error", "shown"), [(StepError("x"), False), (OSError(28, "x"), False), (KeyError("x"), True)]
)
def test_only_bugs_show_their_traceback(error: Exception, shown: bool) -> None:
    record = logging.LogRecord("prefect.task_runs", logging.ERROR, "", 0, "%r", (error,), None)
    record.exc_info = (type(error), error, None)
    assert is_unexpected(record) is shown
