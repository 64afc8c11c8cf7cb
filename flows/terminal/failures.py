"""Which failures show as one line, and which with a traceback; which warnings are hidden."""

import logging

import httpx

from tasks.codes.errors import AutoencoderError
from tasks.core.errors import readable

EXPECTED_ERRORS = (AutoencoderError, OSError)
"""Caused by input or environment; shown without a traceback."""
SERVER_ERRORS = (httpx.HTTPError,)
"""Of Prefect's client; shown in one line by `tasks.steps.server`."""


def is_unexpected(record: logging.LogRecord) -> bool:
    """Hide Prefect's traceback of an expected error: the line with the run's state has its text."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, EXPECTED_ERRORS + SERVER_ERRORS)


def is_no_retracing(record: logging.LogRecord) -> bool:
    """Hide TensorFlow's warning of retraced functions: it takes those of several models for one."""
    return "triggered tf.function retracing" not in str(record.msg)


def with_readable_text(record: logging.LogRecord) -> logging.LogRecord:
    """The record, without bytes of file names that are no UTF-8: no server accepts such a line."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # a wrong call, of which the handlers tell
        return record
    if (readable_text := readable(text)) != text:
        record.msg, record.args = readable_text, ()
    return record


def filter_logs() -> None:
    """Install the filters where Prefect's engines and TensorFlow log; make all lines readable."""
    make_record = logging.getLogRecordFactory()
    logging.setLogRecordFactory(
        lambda *args, **kwargs: with_readable_text(make_record(*args, **kwargs))
    )
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(is_unexpected)
    logging.getLogger("tensorflow").addFilter(is_no_retracing)
