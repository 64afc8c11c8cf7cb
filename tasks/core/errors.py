"""Errors caused by input or environment; shown in one line, without a traceback."""

import errno
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

    def __init__(self, message: str, result: object = None) -> None:
        """Take the message, and the outcome of the run for whoever shows it."""
        super().__init__(message)
        self.result = result


class ModelError(StepError):
    """One model cannot be trained; others may."""


class TransientError(StepError):
    """A temporary failure; the step is retried."""


def may_pass(error: OSError) -> bool:
    """Whether waiting may cure an error of the operating system; so it is with a busy disk."""
    return error.errno not in PERMANENT and not isinstance(error, PERMANENT_TYPES)


def readable(text: str) -> str:
    """A text without what UTF-8 cannot express: bytes of a file's name that are none.

    Python holds them as lone surrogates, which no server accepts.
    """
    return text.encode("utf-8", "backslashreplace").decode()


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise errors with such a text as errors of ours with a readable one.

    Raises:
        AutoencoderError: of the same kind; `StepError` if it was of another.
    """
    try:
        yield
    except Exception as error:
        if (text := readable(str(error))) == str(error):
            raise
        kind = type(error) if isinstance(error, AutoencoderError) else StepError
        raise kind(text) from None


def command(words: str) -> str:
    """How to type `python -m words` where this process was started: with its own Python."""
    python = Path(sys.executable)
    if shutil.which("python") == str(python):
        return f"python -m {words}"
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m {words}"


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
