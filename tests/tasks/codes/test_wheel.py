"""The wheel that a downstream job installs, built without a network."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
PARTS = ("pyproject.toml", "README.md", "LICENSE")
"""What a build needs beside the package."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools writes into the folder that it builds."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in PARTS:
        shutil.copy(REPOSITORY / name, copy)
    shutil.copytree(
        REPOSITORY / "tasks", copy / "tasks", ignore=shutil.ignore_patterns("__pycache__")
    )
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *options, "-w", str(built), "."]
    subprocess.run(command, cwd=copy, check=True)
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_reader_alone(wheel: Path) -> None:
    package = REPOSITORY / "tasks" / "codes"
    names = {str(path.relative_to(package)) for path in package.rglob("*.py")} | {"py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == {f"autoencoder_codes/{name}" for name in names}


def test_the_wheel_requires_h5py_and_numpy_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split("[<>=]", line)[0] for line in required) == ["h5py", "numpy"]


def test_the_wheel_requires_obstore_for_object_stores(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    required = [line for line in metadata.get_all("Requires-Dist", []) if "stores" in line]
    assert [re.split("[<>=]", line)[0] for line in required] == ["obstore"]


def test_the_installed_reader_needs_no_checkout(wheel: Path, tmp_path: Path) -> None:
    """Beside another program's `tasks.py`, and without the variable that a checkout sets."""
    (tmp_path / "tasks.py").write_text("raise RuntimeError('this is not the reader')")
    environment = {k: v for k, v in os.environ.items() if k != "AUTOENCODER_ARTIFACTS"}
    code = "from autoencoder_codes import CodesError, open_published\n"
    code += "try: open_published('mine')\nexcept CodesError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(wheel)},  # Python imports from wheels, too
        check=True,
        capture_output=True,
        text=True,
    )
    expected = "No artifacts folder: set AUTOENCODER_ARTIFACTS, or give it as argument root\n"
    assert done.stdout == expected
