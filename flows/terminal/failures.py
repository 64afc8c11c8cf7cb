"""Which failures show as one line, and which with a traceback; which warnings are hidden."""

import logging

from tasks.codes.errors import AutoencoderError

EXPECTED_ERRORS = (AutoencoderError, OSError)
"""Caused by input or environment; shown without a traceback."""


def is_unexpected(record: logging.LogRecord) -> bool:
    """Hide Prefect's traceback of an expected error: the line with the run's state has its text."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, EXPECTED_ERRORS)


def is_no_retracing(record: logging.LogRecord) -> bool:
    """Hide TensorFlow's warning of retraced functions: it takes those of several models for one."""
    return "triggered tf.function retracing" not in str(record.msg)


def filter_logs() -> None:
    """Install the filters where Prefect's engines and TensorFlow log."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(is_unexpected)
    logging.getLogger("tensorflow").addFilter(is_no_retracing)
