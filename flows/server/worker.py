"""A worker for a container: tells its runs to end before it ends, or they would vanish with it.

The arguments are those of `prefect worker start`.
"""

import os
import sys

from flows.server.supervision import Worker, interrupt_on_signals


def main(arguments: list[str]) -> int:
    """Work until stopped by a signal; return the worker's exit code."""
    interrupt_on_signals()
    worker = Worker(arguments, os.environ)
    try:
        with worker:
            return worker.process.wait()
    except KeyboardInterrupt:
        return worker.process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
