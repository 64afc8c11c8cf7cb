"""Errors caused by input or environment; shown in one line, without a traceback."""

from pydantic import ValidationError


class StepError(Exception):
    """A step cannot succeed with what it was given.

    The message is one line that names what was found, what was expected and what to do.
    """


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
