"""Errors that are an answer, not a bug: one line each, and never retried."""


class StepError(Exception):
    """A step cannot succeed with what it was given.

    The message is one line that names what was found, what was expected and what to do.
    """
