"""Errors caused by input or environment; shown in one line, without a traceback."""

import errno

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasks.codes.errors import AutoencoderError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
PERMANENT = {
    *NO_ROOM,
    *(errno.EINVAL, errno.EROFS, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.EFBIG, errno.E2BIG),
}
PERMANENT_TYPES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class StepError(AutoencoderError):
    """A step cannot succeed with its input or environment."""


class RefusedError(StepError):
    """The quality gate refused a run, for the reasons in the message; the run is kept."""


class ModelError(StepError):
    """One model cannot be trained; others may."""


class TransientError(StepError):
    """A temporary failure; the step is retried."""


def may_pass(error: OSError) -> bool:
    """Whether waiting may cure an error of the operating system; so it is with a busy disk."""
    return error.errno not in PERMANENT and not isinstance(error, PERMANENT_TYPES)


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
