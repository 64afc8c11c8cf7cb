"""`make deploy`: registers work pools, deployments and automations on a Prefect server.

PREFECT_API_URL names the server; doing it again changes nothing. prefect.yaml reads two variables,
which are set here unless they are set already: AUTOENCODER_CODE, the folder where a worker finds
the code, and AUTOENCODER_STACK, the name of the containers and their image (docker/compose.yaml).
"""

import argparse
import os
import subprocess
import sys
from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings

from flows.server import automations
from flows.server.supervision import CODE

WORK_POOL = "autoencoders"
DOCKER_WORK_POOL = "autoencoders-docker"
STACK = "autoencoder-flow"


def main(arguments: list[str]) -> int:
    """Register everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.deploy", description=__doc__)
    parser.add_argument(
        "--notify",
        metavar="TYPE/NAME",
        help="notification block of the server for runs that fail, for example "
        "slack-webhook/night-shift",
    )
    options = parser.parse_args(arguments)
    if get_current_settings().api.url is None:  # a temporary server would forget everything
        print("PREFECT_API_URL is not set: set it, or use `make serve`", file=sys.stderr)
        return 1
    try:
        deploy(options.notify)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # Prefect has printed the reason
    except ObjectNotFound:
        print(f"The server has no block {options.notify}: create it first", file=sys.stderr)
        return 1
    return 0


def deploy(notify: str | None = None) -> None:
    """Register everything.

    Args:
        notify: a notification block, `TYPE/NAME`.

    Raises:
        CalledProcessError: Prefect refused a deployment, and has printed the reason.
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
    """Create a work pool unless it exists; its first worker sets its job template."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type=kind))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
