import os
import subprocess
import sys
from pathlib import Path

from flows.server.deploy import CODE
from flows.server.serve import serving_environment

TOLD = """
import os, flows, prefect
from prefect.settings import get_current_settings
print(os.environ["DO_NOT_TRACK"], get_current_settings().server.analytics_enabled)
"""


def test_nothing_calls_home_from_the_command_line(tmp_path: Path) -> None:
    ours = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(CODE)}
    told = subprocess.run(
        [sys.executable, "-c", TOLD],
        env=environment,
        cwd=tmp_path,  # where no pyproject.toml is read
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["1", "False"]


def test_nothing_calls_home_from_what_is_served(tmp_path: Path) -> None:
    environment = serving_environment(tmp_path, 4200)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
