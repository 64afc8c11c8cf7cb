"""`python -m tasks.report RUN --against RUN`: a run's report with another run as its rival."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.errors import StepError
from tasks.manifests import Manifest, find_run, run_folder
from tasks.storage import artifacts_folder, write_bytes

Render = Callable[[Manifest, Manifest | None, Path], dict[str, str]]


def main(arguments: list[str], render_files: Render) -> int:
    """Render the reports; return the exit code.

    Args:
        render_files: that of `tasks.report`, which is the command's name.
    """
    parser = argparse.ArgumentParser(prog="python -m tasks.report", description=__doc__)
    parser.add_argument("run", help="the name of a run, or the start of one")
    parser.add_argument("--against", metavar="RUN", help="another run to compare it with")
    parser.add_argument(
        "--output", type=Path, default=Path(), help="folder for both files; default: this one"
    )
    options = parser.parse_args(arguments)
    root = artifacts_folder()
    try:
        run = find_run(options.run, root)
        rival = find_run(options.against, root) if options.against else None
        for name, text in render_files(run, rival, run_folder(run.run, root)).items():
            write_bytes(options.output / name, text.encode())
            print(options.output / name)
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
