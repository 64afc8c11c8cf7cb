"""Files of published runs on this machine: each is fetched once, when it is asked for.

Each run has a folder that is named after the SHA-256 of its manifest, so it never matters which
store the files came from. Everything in the cache can be deleted at any time.
"""

import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import CodesError
from ..published import RunFile, check_file
from .address import read_pieces, store_errors_explained

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CACHE_VARIABLE = "AUTOENCODER_CACHE"


def cache_folder() -> Path:
    """Where files are kept: `AUTOENCODER_CACHE`, or `autoencoder-codes` in the user's cache.

    Raises:
        CodesError: the user has no home folder.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return caches.expanduser() / "autoencoder-codes"
    except RuntimeError:
        raise CodesError(f"No home folder for a cache: name one with {CACHE_VARIABLE}") from None


def obtain_file(
    folder: Path, file: RunFile, store: "ObjectStore", source: str, address: str
) -> Path:
    """The path of a file in a folder of the cache; fetched unless it is there and intact.

    Args:
        source: the folder of the store that has the file.

    Raises:
        CodesError: the file cannot be fetched or written, or is not the one that the run has.
    """
    check_path(file.path)
    try:
        return check_file(folder, *file)
    except CodesError:  # not there yet, or damaged since
        pass
    path = folder / file.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    except OSError as error:
        raise _not_written(folder, error) from None
    partial = Path(name)
    try:
        _download(descriptor, file, store, f"{source}/{file.path}", address)
        partial.replace(path)
    except OSError as error:
        raise _not_written(folder, error) from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def check_path(path: str) -> None:
    """Check that a path of a manifest stays in the run's folder.

    Raises:
        CodesError: it leads elsewhere.
    """
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise CodesError(f"{path!r} is not the path of a file of a run")


def _not_written(folder: Path, error: OSError) -> CodesError:
    return CodesError(
        f"{folder} cannot be written ({error.strerror}): {CACHE_VARIABLE} names another folder"
    )


def _download(descriptor: int, file: RunFile, store: "ObjectStore", key: str, address: str) -> None:
    """Write an object to an open file, which is closed, unless it is not the one expected."""
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as target:
        pieces = read_pieces(key, file.size, store)
        while True:
            with store_errors_explained(address):
                piece = next(pieces, None)
            if piece is None:
                break
            digest.update(piece)
            target.write(piece)
    if digest.hexdigest() != file.sha256:
        raise CodesError(
            f"{address}/{key} is not the file of the run: SHA-256 {digest.hexdigest()[:12]}..., "
            f"expected {file.sha256[:12]}..."
        )
