"""Errors that are an answer, not a bug: one line each."""


class StepError(Exception):
    """A step cannot succeed with what it was given.

    The message is one line that names what was found, what was expected and what to do.
    """


class RefusedError(StepError):
    """The quality gate refused a run; it is kept, and the message has the reasons."""


class TransientError(StepError):
    """What was needed did not answer; the only answer worth asking for again."""
