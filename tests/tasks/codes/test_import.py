"""The reader stands alone: what importing it costs, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
PROBE = """
import json, os, sys, time
before, started = dict(os.environ), time.process_time()
from tasks.codes import open_published, read_codes
seconds = time.process_time() - started
print(json.dumps({
    "seconds": seconds,
    "modules": sorted(sys.modules),
    "environment changed": dict(os.environ) != before,
}))
"""
MOST_SECONDS = 0.5
"""Of processor time, h5py and NumPy included: waiting on a busy machine does not count."""
MOST_MODULES = 9


def import_reader() -> dict[str, Any]:
    """What a new process finds that imports the reader."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=REPOSITORY,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def imported() -> dict[str, Any]:
    return import_reader()


def test_the_reader_imports_few_modules_of_ours(imported: dict[str, Any]) -> None:
    ours = [name for name in imported["modules"] if name.split(".")[0] in ("tasks", "flows")]
    assert len(ours) <= MOST_MODULES
    assert all(name == "tasks" or name.startswith("tasks.codes") for name in ours)


def test_the_reader_imports_no_package_but_h5py_and_numpy(imported: dict[str, Any]) -> None:
    alone = subprocess.run(
        [sys.executable, "-c", "import h5py, json, sys; print(json.dumps(sorted(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    known = {name.split(".")[0] for name in json.loads(alone.stdout)} | set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in imported["modules"]} - known == {"tasks"}


def test_the_reader_changes_no_environment_variable(imported: dict[str, Any]) -> None:
    assert not imported["environment changed"]


def test_the_reader_loads_in_half_a_second(imported: dict[str, Any]) -> None:
    assert min(imported["seconds"], *(import_reader()["seconds"] for _ in range(2))) < MOST_SECONDS
