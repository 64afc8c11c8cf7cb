"""Errors caused by input or environment; the message is one line, shown without a traceback."""


class AutoencoderError(Exception):
    """Base of all expected errors of this project.

    The message names what was found, what was expected and what to do.
    """


class CodesError(AutoencoderError):
    """Codes cannot be read: something is missing, damaged or does not follow the contract."""
