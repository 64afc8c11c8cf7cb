"""What all formats share: the limit of compression, and errors of one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from tasks.core.errors import StepError, TransientError, may_pass

MAX_DEFLATE_RATIO = 1032
"""Deflate cannot expand data further. Source: https://zlib.net/zlib_tech.html"""
GZIP_MAGIC = b"\x1f\x8b"
MOST_SHOWN = 300
"""Characters of the reason that a library gives, at most."""
DAMAGED = "it is damaged: replace it"
"""The way out that lines on damaged files name."""

JOINERS = "\u200c\u200d\u200e\u200f"
"""Letters without a shape of their own that words of some scripts need."""


def shown(name: str | Path) -> str:
    """A name of a file as text of one line: what cannot be shown is escaped.

    Names of files are any bytes, and few logs, pages and databases take those that are no UTF-8.
    """
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(
        letter
        if letter.isprintable() or letter in JOINERS
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


@contextmanager
def read_errors_explained(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """Raise whatever opening or reading a file raises as a StepError, in words.

    Args:
        kind: what the file should be, as in "an .npy file".
        damage: what its reader raises if it is not, beside OSError.

    Raises:
        TransientError: the file may be readable later.
    """
    expected: tuple[type[Exception], ...] = (OSError, *damage)
    try:
        yield
    except FileNotFoundError:
        raise StepError(f"{path} is missing: place the file there") from None
    except expected as error:
        if isinstance(error, OSError) and error.errno:
            line = f"{path} cannot be read as {kind}: {os.strerror(error.errno)}"
            raise (TransientError(line) if may_pass(error) else StepError(line)) from None
        # HDF5's has several lines, NumPy's a whole header.
        reason = shorten(" ".join(str(error).split()), MOST_SHOWN, placeholder=" ...")
        raise StepError(
            f"{path} cannot be read as {kind} ({reason}): it is another file, or damaged: replace "
            "it"
        ) from None
