"""A worker for a container: ends its runs before it ends, or the container would kill them.

The arguments are those of `prefect worker start`.
"""

import os
import sys

from flows.server.supervision import Worker, interrupt_on_signals
from tasks.core.errors import StepError
from tasks.core.settings import read_settings


def main(arguments: list[str]) -> int:
    """Work until stopped by a signal; return the worker's exit code."""
    interrupt_on_signals()
    worker = Worker(arguments, os.environ)
    try:
        read_settings()  # the runs inherit the variables, and each would fail because of a bad one
        with worker:
            return worker.process.wait()
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return worker.process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
