"""`python -m tests.fuzz`: read thousands of damaged files of each format, and count the outcomes.

Each format is read in a process of its own. If that ends, the file that it was reading is a
finding, and another process goes on with the next one. The exit code is 1 if there is a finding.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from typing import NamedTuple

from tests.fuzz.miniatures import MINIATURES

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Threads take address space, which is limited."""


class Found(NamedTuple):
    """What became of the files of a format."""

    counts: Counter[str]
    findings: dict[int, str]
    """By the number of the file."""


def fuzz(kind: str, first: int, last: int, module: str = "tests.fuzz.worker") -> Found:
    """Read files in processes that may crash.

    Args:
        module: is run to read them.
    """
    found = Found(Counter(), {})
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while first < last:
            command = [sys.executable, "-m", module, kind, str(first), str(last), folder]
            process = subprocess.run(
                command, stdout=subprocess.PIPE, env=os.environ | SINGLE_THREADED, check=False
            )
            lines = process.stdout.decode().splitlines()
            for number, outcome in zip(lines[::2], lines[1::2], strict=False):
                _count(found, int(number), outcome)
            if process.returncode == 0:
                break
            if not lines:
                raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}")
            first = int(lines[-1] if len(lines) % 2 else lines[-2]) + 1
            if len(lines) % 2:
                _count(found, first - 1, f"FINDING {_explain(process.returncode)}")
    return found


def _count(found: Found, number: int, outcome: str) -> None:
    if outcome.startswith("FINDING"):
        found.findings[number] = outcome
        outcome = "findings"
    found.counts[outcome] += 1


def _explain(code: int) -> str:
    if code == -signal.SIGALRM:
        return "hangs"
    return f"crashes with {signal.Signals(-code).name}" if code < 0 else f"ends with code {code}"


def main() -> int:
    """Read the files of all formats; print a table of the counts, and the findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="of each format (10,000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (0)")
    parser.add_argument("formats", nargs="*", help=f"some of {', '.join(MINIATURES)} (all)")
    arguments = parser.parse_args()
    failed = False
    for kind in arguments.formats or MINIATURES:
        found = fuzz(kind, arguments.first, arguments.first + arguments.files)
        counts = ", ".join(
            f"{count:,} {outcome}" for outcome, count in sorted(found.counts.items())
        )
        print(f"{kind}: {counts}", flush=True)
        for number, finding in list(found.findings.items())[:20]:
            print(f"  {kind} {number}: {finding}", flush=True)
        failed |= bool(found.findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
