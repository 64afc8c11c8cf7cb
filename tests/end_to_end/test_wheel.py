"""A downstream project: an environment with the wheel alone, beside a `tasks.py` of its own."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.codes import PublishedRun
from tests.conftest import SAMPLE
from tests.end_to_end.test_readers import example

REPOSITORY = Path(__file__).parents[2]
NOT_BUILT = (".git", ".venv*", "build", "*.egg-info", "node_modules", "__pycache__", ".*_cache")
READ = f"""
import hashlib, sys
from autoencoder_codes import open_published
codes = open_published("{SAMPLE.dataset}", *sys.argv[1:]).codes("test", "deep")
print(codes.codes.shape, codes.model.fingerprint, hashlib.sha256(codes.codes).hexdigest())
"""


class Project(NamedTuple):
    """Another project's folder and environment."""

    folder: Path
    python: Path

    def run(self, *arguments: str | Path, artifacts: Path | None = None) -> tuple[int, str, str]:
        """Run its Python; give exit code, output and errors."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOENCODER_")}
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=self.folder,
            env=environment | ({"AUTOENCODER_ARTIFACTS": str(artifacts)} if artifacts else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With the reader, installed from a copy of this repository by `pip install`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tasks.py").write_text("raise RuntimeError('tasks of another program')\n")
    copy, environment = folder / "checkout", folder / "environment"
    shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(*NOT_BUILT), symlinks=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    project = Project(folder, environment / "bin" / "python")
    code, _, errors = project.run("-m", "pip", "install", "--quiet", copy)
    assert code == 0, errors
    shutil.rmtree(copy)
    return project


@pytest.fixture
def expected(published: PublishedRun) -> str:
    """What a reader prints that reads the codes as this project does."""
    read = published.codes("test", "deep")
    digest = hashlib.sha256(read.codes.tobytes()).hexdigest()
    return f"{read.codes.shape} {read.model.fingerprint} {digest}\n"


@pytest.fixture
def read_only(artifacts: Path, tmp_path: Path) -> Iterator[Path]:
    """The artifacts folder, mounted where nobody can write."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    subprocess.run(["mount", "--bind", str(artifacts), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_nothing_but_h5py_and_numpy_is_installed(project: Project) -> None:
    _, shown, _ = project.run("-m", "pip", "list", "--format=freeze")
    installed = {line.split("==")[0].split(" @ ")[0] for line in shown.splitlines()}
    assert installed - {"pip", "setuptools"} == {"autoencoder-flow", "h5py", "numpy"}


def test_a_published_run_is_read(project: Project, artifacts: Path, expected: str) -> None:
    assert project.run("-c", READ, artifacts=artifacts) == (0, expected, "")
    assert project.run("-c", READ, artifacts) == (0, expected, "")


def test_the_example_of_the_documentation_reads_the_codes(
    project: Project, published: PublishedRun
) -> None:
    link = project.folder / "artifacts" / "published" / "fashion-mnist"
    link.parent.mkdir(parents=True)
    link.symlink_to(published.folder)
    shown = project.run("-c", example("python", "autoencoder_codes"))
    shapes = f"{(128, 32)} {(128, 32)}"
    assert shown == (0, f"{published.name} {published.class_names[:3]} {shapes}\n", "")


def test_a_run_is_read_where_nobody_can_write(
    project: Project, read_only: Path, expected: str
) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        (read_only / "new").touch()
    assert project.run("-c", READ, read_only) == (0, expected, "")


def test_a_file_is_verified_by_the_command(project: Project, published: PublishedRun) -> None:
    path = published.folder / "codes" / "test.h5"
    command = ("-m", "autoencoder_codes", "--verify", path)
    assert project.run(*command) == (0, f"{path} is valid\n", "")
    assert project.run("-m", "autoencoder_codes", "--help")[1].startswith(
        "usage: python -m autoencoder_codes "
    )


def test_without_an_artifacts_folder_it_is_refused_in_one_line(project: Project) -> None:
    code, _, errors = project.run("-c", READ)
    assert code == 1
    expected = "No artifacts folder: set AUTOENCODER_ARTIFACTS, or give it as argument root"
    assert errors.splitlines()[-1] == f"autoencoder_codes.errors.CodesError: {expected}"
