"""`python -m tests.fuzz.worker KIND FIRST LAST FOLDER`: reads damaged files within limits.

Prints two lines for each: its number, then what became of it.
"""

import logging
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

SECONDS, MEMORY = 10, 2**30
"""Limits of one file: processor time or not, and bytes of memory beyond what the modules take."""


def main(kind: str, first: int, last: int, folder: Path) -> None:
    """Read the files with the numbers from `first` to `last` - 1."""
    from tests.fuzz.cases import run_case

    logging.disable()
    warnings.simplefilter("ignore")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, last):
        print(number, flush=True)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # ends this process, whatever C code does
        try:
            outcome = run_case(kind, number, folder)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:300]
            outcome = f"FINDING {type(error).__name__}: {text} ({place.filename}:{place.lineno})"
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(outcome, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
