"""`make deploy`: registers work pool, deployments and automations on the server of PREFECT_API_URL.

Doing it again changes nothing.
"""

import argparse
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings

from flows.server import automations

CODE = Path(__file__).resolve().parents[2]
WORK_POOL = "autoencoders"
DOCKER_WORK_POOL = "autoencoders-docker"
STACK = "autoencoder-flow"
"""The name of the stack of containers that the Docker work pool's runs join, and of their image."""


def main(arguments: list[str]) -> int:
    """Register everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.deploy", description=__doc__)
    parser.add_argument(
        "--notify",
        metavar="TYPE/NAME",
        help="tell this notification block of the server about runs that fail, "
        "slack-webhook/night-shift for example",
    )
    options = parser.parse_args(arguments)
    if get_current_settings().api.url is None:  # a temporary server would forget everything
        print("PREFECT_API_URL names no server: set it, or use `make serve`", file=sys.stderr)
        return 1
    try:
        deploy(options.notify)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # Prefect has told why
    except ObjectNotFound:
        print(f"The server has no block {options.notify}: make it first", file=sys.stderr)
        return 1
    return 0


def deploy(notify: str | None = None) -> None:
    """Register everything.

    Args:
        notify: a notification block, `TYPE/NAME`.

    Raises:
        CalledProcessError: Prefect refused a deployment; its reason is on the terminal.
        ObjectNotFound: there is no such block.
    """
    create_work_pool(WORK_POOL, "process")
    create_work_pool(DOCKER_WORK_POOL, "docker")
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        check=True,
        cwd=CODE,
        env={"AUTOENCODER_CODE": str(CODE), "AUTOENCODER_STACK": STACK, **os.environ},
    )
    automations.register(notify)


def create_work_pool(name: str, kind: str) -> None:
    """Create a work pool unless it is there; its first worker brings its job template."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type=kind))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
