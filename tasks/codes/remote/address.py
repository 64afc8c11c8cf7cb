"""Addresses of object stores, such as `s3://bucket/prefix`, and how they are opened.

Credentials and everything else that a store needs come from the environment, as its own tools read
it: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import CodesError

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
RETRY: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10)},
}
"""For lost connections and answers such as 503; obstore's own defaults go on for three minutes."""
PIECE = 2**23
"""Bytes that are read with one request, which obstore gives 30 s unless the environment does."""


def check_address(address: str) -> str:
    """Return an address without the slash at its end.

    Raises:
        CodesError: it is none, or has a user, a password or a query; never shows those.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        raise CodesError(f"The address of the object store is none: expected {_form()}") from None
    if "@" in address or parts.query or parts.fragment:
        raise CodesError(
            "The address of the object store has a user, a password or a query: remove that, and "
            "give credentials in the environment, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.scheme not in SCHEMES or not parts.netloc or {"", ".", ".."} & {*segments}:
        raise CodesError(f"{address!r} is no address of an object store: expected {_form()}")
    return "/".join([f"{parts.scheme}://{parts.netloc}", *segments])


def _form() -> str:
    return "s3://BUCKET/PREFIX, or one that begins with gs:// or az://"


def open_store(address: str) -> "ObjectStore":
    """Open a store; nothing is asked of it yet.

    Raises:
        CodesError: the address or a variable of the environment is wrong, or obstore is missing.
    """
    address = check_address(address)
    try:
        from obstore.store import from_url
    except ImportError:
        raise CodesError(
            f"{address} needs the package obstore: install the reader with its extra stores, as in "
            'pip install "autoencoder-flow[stores] @ git+URL"'
        ) from None
    with store_errors_explained(address):
        # No options of the client: they would replace those of the environment.
        return from_url(address, retry_config=RETRY)


class SizeError(CodesError):
    """An object has another size than the file that it should be."""


def read_pieces(key: str, size: int, store: "ObjectStore") -> Iterator[bytes]:
    """Read an object of a known size in pieces; errors of the store are left to the caller.

    Raises:
        SizeError: it has another size.
    """
    for start in range(0, max(size, 1), PIECE):
        if size <= PIECE:
            found = store.get(key)
        else:
            found = store.get(key, options={"range": (start, min(start + PIECE, size))})
        if found.meta["size"] != size:
            raise SizeError(f"{key} has {found.meta['size']} bytes, expected {size}")
        yield bytes(found.bytes())


@contextmanager
def store_errors_explained(address: str) -> Iterator[None]:
    """Raise what a store answers, or that it does not, in one line.

    Raises:
        CodesError: names the store and its answer.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise CodesError(f"{address} cannot be used: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """What a store answered, in one line without signatures and other parts of requests."""
    text = str(error).partition("\n\nDebug source")[0]
    text, _, body = text.partition("<")
    text = re.sub(r"\?\S*", "", " ".join(text.split())).rstrip(": ")  # a query may be signed
    if code := re.search(r"<?Code>(\w+)</Code>", body):
        text += f" ({code[1]})"
    return text or type(error).__name__
