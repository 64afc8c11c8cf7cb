"""What all formats share: the limit of compression, and errors of one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import StepError

MAX_DEFLATE_RATIO = 1032
"""Deflate cannot expand data further. Source: https://zlib.net/zlib_tech.html"""


@contextmanager
def read_errors_explained(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """Raise whatever opening or reading a file raises as a StepError.

    Args:
        kind: what the file should be, as in "an .npy file".
        damage: what its reader raises if it is not, beside OSError.
    """
    expected: tuple[type[Exception], ...] = (OSError, *damage)
    try:
        yield
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except expected as error:
        reason = " ".join(str(error).split())  # HDF5's has several lines
        raise StepError(f"{path} cannot be read as {kind}: {reason}") from None
