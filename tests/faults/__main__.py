"""Lets one system call of a run fail, for call after call: `python -m tests.faults`.

Reports how the runs ended, by kind of call and by fault, and what was found wrong.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.faults.harness import Workshop, choose_cases, try_cases


def main() -> int:
    """Try the cases and report; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--part", default="1/1", help="only one part of them, such as 2/6")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    with tempfile.TemporaryDirectory() as name:
        workshop = Workshop(Path(name).resolve())
        cases = choose_cases(workshop.calls, arguments.cases)
        report = try_cases(workshop, cases[part - 1 :: parts])
    print(json.dumps(report, indent=2))
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
