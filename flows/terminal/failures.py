"""How failures show: what is expected to happen in one line, what is a bug with its traceback."""

import logging

from tasks.codes.errors import AutoencoderError

EXPECTED_ERRORS = (AutoencoderError, OSError)
"""Wrong input, and a disk or network that does not do what it should."""


class WithoutTraceback(logging.Filter):
    """Drops Prefect's traceback of an expected error; the line with the run's state tells it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, EXPECTED_ERRORS)


def hide_expected_tracebacks() -> None:
    """Install the filter where Prefect's engines log exceptions."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(WithoutTraceback())


class WithoutRetracing(logging.Filter):
    """Drops TensorFlow's warning of functions traced again: several models are several functions.

    It tells functions apart by the line that they are made in.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        return "triggered tf.function retracing" not in str(record.msg)


def hide_retracing_warnings() -> None:
    """Install the filter where TensorFlow logs."""
    logging.getLogger("tensorflow").addFilter(WithoutRetracing())
