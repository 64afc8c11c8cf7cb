"""Render a run's report again, compared with another run: `python -m tasks.reports RUN`."""

import argparse
import sys
from pathlib import Path

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import run_folder
from tasks.core.storage import existing_artifacts_folder, write_bytes
from tasks.reports.report import render_files
from tasks.runs.lookup import find_run


def main(arguments: list[str]) -> int:
    """Render both files of the report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.reports", description=__doc__)
    parser.add_argument("run", help="name of a run, or the start of one")
    parser.add_argument("--against", metavar="RUN", help="another run to compare it with")
    parser.add_argument(
        "--output", type=Path, default=Path(), help="folder for both files (default: this one)"
    )
    options = parser.parse_args(arguments)
    try:
        root = existing_artifacts_folder()
        run = find_run(options.run, root)
        other = find_run(options.against, root) if options.against else None
        for name, text in render_files(run, other, run_folder(run.run, root)).items():
            write_bytes(options.output / name, text.encode())
            print(options.output / name)
    except AutoencoderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
