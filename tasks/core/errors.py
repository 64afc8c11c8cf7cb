"""Errors caused by input or environment; shown in one line, without a traceback."""

from pydantic import ValidationError

from tasks.codes.errors import AutoencoderError


class StepError(AutoencoderError):
    """A step cannot succeed with its input."""


class RefusedError(StepError):
    """The quality gate refused a run; it is kept, and the message has the reasons."""


class TransientError(StepError):
    """What was needed did not answer; the only answer worth asking for again."""


def explain(error: ValidationError) -> str:
    """One line that names, for every refused value, the field, the value and the bound."""
    return "; ".join(
        f"{'.'.join(map(str, fact['loc']))}: {fact['msg']}, found {fact['input']!r}"
        for fact in error.errors()
    )
