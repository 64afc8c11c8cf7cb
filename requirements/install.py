"""Install a lock into a virtual environment: `python requirements/install.py .venv cpu`.

Needs nothing but Python. Makes the environment, or repairs it where it has no pip or its Python is
gone; of several processes one installs, and the others wait. An interrupted installation leaves no
mark and is done again.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent
PERSONAL = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH")
"""Variables that would lead pip elsewhere."""
SUPPORTED = ((3, 11), (3, 14))
"""The first version that works, and the first that does not."""


def main(folder: Path, name: str) -> int:
    """Install `requirements/<name>.txt` unless it is; return the exit code."""
    if not SUPPORTED[0] <= sys.version_info < SUPPORTED[1]:
        print("Python 3.11, 3.12 or 3.13 is needed", file=sys.stderr)
        return 1
    for variable in PERSONAL:
        os.environ.pop(variable, None)
    lock, mark = REQUIREMENTS / f"{name}.txt", folder / f"installed-{name}"
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        take_turn(file.fileno(), folder)
        if mark.exists() and mark.stat().st_mtime >= lock.stat().st_mtime:
            return 0  # by another process meanwhile
        if not has_pip(folder) and (reason := make_environment(folder)):
            print(reason, file=sys.stderr)
            return 1
        # The lock is its own constraint, or pip took the newest `name[extra]` of a locked `name`.
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
        files = ["-r", str(lock), "-c", str(lock)]
        code = run([str(folder / "bin/python"), "-m", "pip", "install", *options, *files])
        if code == 0:
            mark.touch()
        return code


def take_turn(descriptor: int, folder: Path) -> None:
    """Wait until no other process installs; the system ends its turn however that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Waiting for another process that installs into {folder}", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def make_environment(folder: Path) -> str | None:
    """Make a virtual environment with pip, or add pip to it; return why that failed."""
    python = folder / "bin/python"
    if answers([str(python), "-c", ""]):
        made = answers([str(python), "-m", "ensurepip", "--upgrade"])
    else:
        made = answers([sys.executable, "-m", "venv", "--clear", str(folder)])
    if made and has_pip(folder):
        return None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{folder} has no pip, and {sys.executable} cannot install it: install the package "
        f"python3-venv or python{version}-venv (Debian, Ubuntu), remove {folder}, and try again"
    )


def has_pip(folder: Path) -> bool:
    """Whether the environment exists and has a pip that works."""
    return answers([str(folder / "bin/python"), "-m", "pip", "--version"])


def answers(command: list[str]) -> bool:
    """Whether a command succeeds; what it prints is not shown."""
    return run(command, subprocess.DEVNULL) == 0


def run(command: list[str], output: int | None = None) -> int:
    """Run a command; return its exit code, 1 if it is not there."""
    try:
        return subprocess.run(command, check=False, stdout=output, stderr=output).returncode
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
