"""The object that says which run of a dataset is published: `published/<dataset>.json`.

What the link of the same name is in the artifacts folder. Readers ignore fields that they do not
know.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..errors import CodesError
from ..published import MANIFEST_FILE, RunFile, beneath
from .address import store_errors_explained

if TYPE_CHECKING:
    from obstore.store import ObjectStore

POINTERS = "published"
MOST_BYTES = 2**20
"""Of the object; more is no pointer."""


@dataclass(frozen=True)
class Pointer:
    """Which run is published."""

    run: str
    folder: str
    """Of its files, relative to the store's address."""
    manifest: RunFile
    """Relative to the folder."""
    confirmed: datetime
    """When what is published was last known to be up to date, with its time zone."""


def pointer_key(dataset: str) -> str:
    """The key of the pointer of a dataset."""
    return str(beneath(PurePosixPath(POINTERS), f"{dataset}.json"))


def read_pointer(dataset: str, store: "ObjectStore", address: str) -> Pointer:
    """Read which run is published.

    Raises:
        CodesError: none is, the store does not answer, or the object is damaged.
    """
    key = pointer_key(dataset)
    with store_errors_explained(address):
        try:
            found = store.get(key)
        except FileNotFoundError:
            raise CodesError(
                f"No run of the dataset {dataset} is published in {address}: run the flow with "
                "AUTOENCODER_PUBLISH_TO first"
            ) from None
        content = bytes(found.bytes()) if found.meta["size"] <= MOST_BYTES else b""
    try:
        return _parse(json.loads(content))
    except (KeyError, TypeError, ValueError) as error:
        raise CodesError(f"{address}/{key} is damaged: {error!r}") from None


def _parse(record: Any) -> Pointer:
    manifest = record["manifest"]
    sha256 = str(manifest["sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256):  # it becomes the name of a folder
        raise ValueError("manifest.sha256 is no SHA-256")
    return Pointer(
        run=str(record["run"]),
        folder=str(record["folder"]),
        manifest=RunFile(MANIFEST_FILE, int(manifest["size"]), sha256),
        confirmed=datetime.fromisoformat(record["confirmed"]),
    )
