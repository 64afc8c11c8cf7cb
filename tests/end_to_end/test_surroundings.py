"""Runs of the command where locale, time zone, home and paths are not what one is used to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.codes.published import open_published
from tests.conftest import SAMPLE
from tests.faults.flow import FLAGS

SURROUNDINGS = {
    "a locale without UTF-8, a path with % and other letters": (
        "100 %s größer",
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ),
    "no home to write to, another time zone, a path with spaces": (
        "a b c",
        {"HOME": "/proc", "TZ": "Pacific/Kiritimati"},
    ),
}
"""The name of the artifacts folder, and variables."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("folder", "variables"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_a_run_and_its_report(folder: str, variables: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / folder
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")}
    environment = kept | variables | {"AUTOENCODER_ARTIFACTS": str(root)}

    def call(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *words], env=environment, capture_output=True, check=False
        )
        text = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, text
        assert "Traceback" not in text

    call("flows.retrain", *FLAGS)
    run = open_published(SAMPLE.dataset, root)
    assert len(run.codes("test", "deep").codes) == 128
    call("tasks.runs", "list")
    call("tasks.reports", run.name, "--output", str(tmp_path / "report"))
    assert (tmp_path / "report" / "report.html").stat().st_size > 100_000
