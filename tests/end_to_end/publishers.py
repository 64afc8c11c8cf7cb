"""What publishers and readers of a store do in processes of their own, which are forked in no time.

This module imports nothing that takes long.
"""

import os
import shutil
from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from tasks.codes import open_published
from tasks.runs.publication import publish
from tasks.stores import copying, folders, retention
from tasks.stores.copying import copy_published
from tasks.stores.store import configured_store


def copy_here(dataset: str, root: Path, environment: dict[str, str]) -> None:
    """What a publisher does in a process of its own."""
    os.environ.update(environment)
    copy_published(dataset, root, configured_store())


def publish_in_turn(dataset: str, root: Path, environment: dict[str, str]) -> None:
    """Publish one of two runs and then the other, until killed; forget old copies in seconds."""
    os.environ.update(environment)
    with (
        mock.patch.object(folders, "MOST_AGE", timedelta(seconds=1)),
        mock.patch.object(copying, "MOST_AGE", timedelta(hours=1)),
        mock.patch.object(retention, "LEAST_AGE", timedelta(seconds=2)),
    ):
        while True:
            for run in ("run-1", "run-2"):
                publish(run, root)
                copy_published(dataset, root, configured_store())


def read_often(
    dataset: str, address: str, cache: Path, count: int, environment: dict[str, str]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Read the codes again and again; nothing that was fetched before counts."""
    os.environ.update(environment, AUTOENCODER_CACHE=str(cache))
    seen: list[tuple[str, NDArray[np.float32]]] = []
    for _ in range(count):
        shutil.rmtree(cache, ignore_errors=True)
        run = open_published(dataset, address)
        seen.append((run.name, run.codes("test", "shallow").codes))
    return seen
