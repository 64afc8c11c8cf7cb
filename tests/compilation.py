"""A plugin of pytest: what XLA compiles is compiled once for all processes of a test session.

Half of the seconds of tests that train would be compilation. It is no conftest.py, because
TensorFlow may be imported by those.
"""

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

VARIABLE = "AUTOENCODER_COMPILATION_CACHE"


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Have the session's processes share a folder; those of `pytest -n` inherit the variable."""
    if hasattr(config, "workerinput"):
        return (yield)
    with TemporaryDirectory(prefix="compiled-") as folder:
        os.environ[VARIABLE] = folder
        return (yield)
