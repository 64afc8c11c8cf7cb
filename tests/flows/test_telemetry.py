import os
import subprocess
import sys
from pathlib import Path

from flows.server.supervision import CODE

SETTINGS = """
import os, flows, prefect
from prefect.settings import get_current_settings
print(os.environ["DO_NOT_TRACK"], get_current_settings().server.analytics_enabled)
"""


def test_nothing_calls_home_from_the_command_line(tmp_path: Path) -> None:
    ours = ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(CODE)}
    shown = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        env=environment,
        cwd=tmp_path,  # where no pyproject.toml is read
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["1", "False"]
