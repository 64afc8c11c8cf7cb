"""A worker that ends its runs before it ends, as a container would kill them, and rescues others.

The arguments are those of `prefect worker start`, except for the worker's name.
"""

import os
import sys

from flows.server.rescue import rescuing
from flows.server.supervision import Worker, interrupt_on_signals
from tasks.core.errors import StepError
from tasks.core.settings import read_settings
from tasks.core.storage import prepare_artifacts_folder


def main(arguments: list[str]) -> int:
    """Work until stopped by a signal; return the worker's exit code."""
    interrupt_on_signals()
    try:
        read_settings()  # the runs inherit the variables, and each would fail because of a bad one
        root = prepare_artifacts_folder()
        worker = Worker(arguments, os.environ, root)
        with worker, rescuing(root):
            return worker.process.wait()
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
