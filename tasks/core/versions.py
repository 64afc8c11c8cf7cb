"""Versions of what the results depend on, without importing TensorFlow."""

import platform
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import h5py

from tasks.core.records import Versions

PROJECT_FILE = Path(__file__).resolve().parents[2] / "pyproject.toml"


@cache
def installed_versions() -> Versions:
    """The versions of this installation."""
    return Versions(
        python=platform.python_version(),
        tensorflow=_tensorflow_version(),
        keras=version("keras"),
        hdf5=h5py.version.hdf5_version,
        project=tomllib.loads(PROJECT_FILE.read_text())["project"]["version"],
    )


def _tensorflow_version() -> str:
    """The extra `cpu` installs TensorFlow as the package tensorflow-cpu."""
    for package in ("tensorflow", "tensorflow-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError("tensorflow: install requirements/cpu.txt or requirements/gpu.txt")
