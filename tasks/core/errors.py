"""Errors caused by input or environment; shown in one line, without a traceback."""

from pydantic import ValidationError

from tasks.codes.errors import AutoencoderError


class StepError(AutoencoderError):
    """A step cannot succeed with its input or environment."""


class RefusedError(StepError):
    """The quality gate refused a run, for the reasons in the message; the run is kept."""


class TransientError(StepError):
    """A temporary failure; the step is retried."""


def explain(error: ValidationError) -> str:
    """One line with the field, the expectation and the value of each refused parameter."""
    return "; ".join(
        f"{'.'.join(map(str, fact['loc']))}: {fact['msg']}, found {fact['input']!r}"
        for fact in error.errors()
    )
