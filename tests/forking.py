"""Processes that are forked from one which has imported what they need."""

import multiprocessing
import os
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).parents[1]
PROCESSES = multiprocessing.get_context("forkserver")


def import_once(*modules: str) -> None:
    """Start the server that forks `PROCESSES`, with these modules.

    A process has one such server, and whichever test comes first starts it: modules that were named
    as a file is imported would be replaced by those that the next file names.
    """
    PROCESSES.set_forkserver_preload(list(modules))
    # The server searches there alone; what it does not find, each process imports for itself.
    with mock.patch.dict(os.environ, PYTHONPATH=str(REPOSITORY)):
        ensure_running()
