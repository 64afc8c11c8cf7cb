import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
from pathlib import Path
import tasks.steps
home = Path(os.environ.get("PREFECT_HOME", "not set"))
print(home, home.is_dir())
"""


def prefect_home(environment: dict[str, str]) -> tuple[str, bool]:
    """The variable in a new process, and whether the folder was there."""
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    home, exists = shown.stdout.rsplit(maxsplit=1)
    return home, exists == "True"


@pytest.mark.parametrize("kind", ["a file", "no real folder"])
def test_without_a_home_that_can_be_written_to_prefect_has_a_temporary_one(
    kind: str, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    folder, exists = prefect_home({"HOME": str(blocked if kind == "a file" else Path("/proc"))})
    assert exists
    assert Path(folder).name.startswith("prefect-")
    assert not Path(folder).exists(), "it goes with the process"


def test_a_home_that_can_be_written_to_is_used(tmp_path: Path) -> None:
    assert prefect_home({"HOME": str(tmp_path)}) == ("not set", False)


def test_a_home_that_was_chosen_for_prefect_is_used(tmp_path: Path) -> None:
    chosen = str(tmp_path / "prefect")
    assert prefect_home({"HOME": "/proc", "PREFECT_HOME": chosen}) == (chosen, False)
