"""What the user's environment does to a run at a terminal: nothing; and what `make` sets up."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.end_to_end.containers import REPOSITORY

pytestmark = pytest.mark.timeout(900)

FLAGS = ["--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)]
FLAGS += ["--shallow-epochs", "1", "--deep-epochs", "1", "--batch-size", "64", "--publish-anyway"]
PREFIXES = ("PREFECT_", "AUTOENCODER_", "MPL", "KERAS_", "TF_", "XLA_", "OMP_", "OPENBLAS_")
NOWHERE = "http://127.0.0.1:9"
HOSTILE = {
    **{f"{kind}_PROXY": NOWHERE for kind in ("HTTP", "HTTPS")},
    **{f"{kind}_proxy": NOWHERE for kind in ("http", "https")},
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "KERAS_BACKEND": "jax",
    "XLA_FLAGS": "--of_another_program",
    "TF_XLA_FLAGS": "--of_another_program",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONIOENCODING": "ascii",
}
"""What a notebook, a company's network, a cluster and other programs set."""


def hostile_home(folder: Path) -> Path:
    """With a person's settings of Keras and Matplotlib, and the database of a newer Prefect."""
    for name in (".keras", ".config/matplotlib", ".prefect"):
        (folder / name).mkdir(parents=True)
    settings = {"floatx": "nonsense", "epsilon": 0.1, "image_data_format": "channels_first"}
    (folder / ".keras/keras.json").write_text(json.dumps(settings))
    figures = "text.usetex: True\nfont.family: serif\nlines.linewidth: 7\nsavefig.dpi: 20\n"
    (folder / ".config/matplotlib/matplotlibrc").write_text(figures)
    newer_database(folder / ".prefect")
    return folder


def newer_database(home: Path) -> None:
    with closing(sqlite3.connect(home / "prefect.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")


def retrain(root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the flow as `make run` does, with these variables beside the usual ones."""
    usual = {name: text for name, text in os.environ.items() if not name.startswith(PREFIXES)}
    return subprocess.run(
        [sys.executable, "-m", "flows.retrain", *FLAGS],
        cwd=REPOSITORY,
        env={**usual, "AUTOENCODER_ARTIFACTS": str(root), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def digests(root: Path) -> dict[str, str]:
    """The SHA-256 of a run's files, but for those that tell when it was, and how long it took."""
    (run,) = root.glob("runs/[!.]*")
    files = (path for path in run.rglob("*") if path.is_file())
    found = {str(path.relative_to(run)): path.read_bytes() for path in files}
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in found.items()
        if not name.startswith(("manifest", "report", "croissant")) and "model.json" not in name
    }


def test_a_hostile_shell_gets_the_bits_of_everybody_else(tmp_path: Path) -> None:
    """Both runs start at the same time."""
    homes = {"usual": tmp_path / "home", "hostile": hostile_home(tmp_path / "hostile-home")}
    homes["usual"].mkdir()
    variables = {"usual": {}, "hostile": HOSTILE}
    with ThreadPoolExecutor() as executor:
        runs = {
            name: executor.submit(
                retrain, tmp_path / name, HOME=str(homes[name]), TMPDIR=str(tmp_path), **settings
            )
            for name, settings in variables.items()
        }
    for run in runs.values():
        ended = run.result()
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
    usual, hostile = digests(tmp_path / "usual"), digests(tmp_path / "hostile")
    assert {"codes/test.h5", "models/deep/encoder.keras", "figures/comparison.png"} <= usual.keys()
    assert hostile == usual
    assert not list(tmp_path.glob("autoencoder-flow-prefect-*")), "the servers' homes are gone"


@pytest.mark.parametrize(
    ("variables", "reasons"),
    [
        ({"PREFECT_API_URL": f"{NOWHERE}/api"}, [f"{NOWHERE}/api", "PREFECT_API_URL"]),
        ({"PREFECT_HOME": "{newer}"}, ["newer version", "PREFECT_HOME"]),
        ({"AUTOENCODER_XLA_FLAGS": "--no_such_flag"}, ["Unknown flag", "AUTOENCODER_XLA_FLAGS"]),
    ],
)
def test_what_cannot_work_is_told_in_a_line_with_the_setting(
    variables: dict[str, str], reasons: list[str], tmp_path: Path
) -> None:
    newer_database(tmp_path)
    settings = {name: text.replace("{newer}", str(tmp_path)) for name, text in variables.items()}
    settings["PREFECT_CLIENT_MAX_RETRIES"] = "0"
    ended = retrain(tmp_path / "artifacts", **settings)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("Failed: "))
    for reason in reasons:
        assert reason in line


STAND_IN = "import sys; print('runs in', sys.prefix)"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """In a folder whose name has a space, with nothing to install and a flow that prints."""
    folder = tmp_path / "a clone"
    for name in ("Makefile", "requirements/install.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / "requirements/cpu.txt").touch()
    (folder / "flows").mkdir()
    (folder / "flows/retrain.py").write_text(STAND_IN)
    return folder


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "run", f"PYTHON={python_without_environment()}", "ARGS=", *words]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def python_without_environment() -> str:
    return str(Path(sysconfig.get_config_var("BINDIR")) / f"python3.{sys.version_info.minor}")


def test_two_first_runs_at_once_in_a_clone_share_one_installation(clone: Path) -> None:
    with ThreadPoolExecutor() as executor:
        runs = list(executor.map(make, [clone, clone]))
    for ended in runs:
        assert ended.returncode == 0, ended.stderr
        assert f"runs in {clone / '.venv'}" in ended.stdout
    assert sum("Waiting for another process" in ended.stderr for ended in runs) == 1


def environment_without_pip(clone: Path) -> Path:
    folder = clone / ".venv"
    options = ["--clear", "--without-pip", str(folder)]
    subprocess.run([python_without_environment(), "-m", "venv", *options], check=True)
    return folder


def test_an_environment_without_pip_is_repaired_or_the_package_is_named(clone: Path) -> None:
    kept = environment_without_pip(clone) / "kept"
    kept.touch()
    assert make(clone).returncode == 0
    assert kept.exists()
    (packages,) = environment_without_pip(clone).glob("lib/python*/site-packages")
    # As Debian's Python without the package python3-venv.
    (packages / "lacking.pth").write_text("import sys; sys.modules['ensurepip'] = None")
    ended = make(clone)
    assert ended.returncode == 2
    assert "python3-venv" in ended.stderr


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    python = environment_without_pip(clone) / "bin/python"
    python.unlink()
    python.symlink_to("/gone/python3")
    assert make(clone).returncode == 0
