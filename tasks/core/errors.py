"""Errors caused by input or environment; shown in one line, without a traceback."""

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasks.codes.errors import AutoencoderError


class StepError(AutoencoderError):
    """A step cannot succeed with its input or environment."""


class RefusedError(StepError):
    """The quality gate refused a run, for the reasons in the message; the run is kept."""


class TransientError(StepError):
    """A temporary failure; the step is retried."""


def explain(error: ValidationError) -> str:
    """One line with the field, the expectation and the value of each refused parameter."""
    return "; ".join(map(_explain, error.errors()))


def _explain(fact: ErrorDetails) -> str:
    where = ".".join(map(str, fact["loc"]))
    message = fact["msg"].removeprefix("Value error, ")
    text = f"{where}: {message}" if where else message
    # A check across fields has all of them as its input, and names the values itself.
    if isinstance(fact["input"], dict | BaseModel):
        return text
    return f"{text}, found {fact['input']!r}"
