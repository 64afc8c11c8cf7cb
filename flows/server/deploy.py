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
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings

from flows.server.supervision import CODE
from tasks.core.errors import StepError
from tasks.steps.server import server_errors_explained

WORK_POOL = "autoencoders"
WORK_POOLS = {WORK_POOL: "process", "autoencoders-docker": "docker"}
"""Type by name; the first worker of a pool sets its job template."""
STACK = "autoencoder-flow"
DEFAULTS = {
    "AUTOENCODER_CODE": str(CODE),
    "AUTOENCODER_STACK": STACK,
    "AUTOENCODER_KEEP": "",
    "AUTOENCODER_GRACE_HOURS": "",
}
"""Of the variables that `prefect.yaml` uses."""
AUTOMATIONS_FILE = Path(__file__).with_name("automations.yaml")


def main(arguments: list[str]) -> int:
    """Register everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.deploy", description=__doc__)
    parser.add_argument(
        "--notify",
        metavar="TYPE/NAME",
        help="notification block of the server for runs that fail, for example "
        "slack-webhook/night-shift",
    )
    notify = parser.parse_args(arguments).notify
    if get_current_settings().api.url is None:  # a temporary server would forget everything
        print("PREFECT_API_URL is not set: set it, or use `make serve`", file=sys.stderr)
        return 1
    try:
        with server_errors_explained():
            deploy(notify)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # Prefect has printed the reason
    except ObjectNotFound:
        print(f"The server has no block {notify}: create it first", file=sys.stderr)
        return 1
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def deploy(notify: str | None = None) -> None:
    """Register everything.

    Args:
        notify: the notification block for failures, `TYPE/NAME` as the server lists it.

    Raises:
        CalledProcessError: Prefect refused a deployment, and has printed the reason.
        ObjectNotFound: there is no such block.
        HTTPError: the server cannot be reached, or refused a request.
    """
    with get_client(sync_client=True) as client:
        for name, kind in WORK_POOLS.items():
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=name, type=kind))
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            check=True,
            cwd=CODE,
            env={**DEFAULTS, **os.environ},
        )
        register_automations(client, notify)


def register_automations(client: SyncPrefectClient, notify: str | None) -> None:
    """Create the automations, or update those of the same name that differ."""
    block = None
    if notify:
        block_type, _, name = notify.partition("/")
        block = str(client.read_block_document_by_name(name, block_type).id)
    for automation in read_automations(block):
        stored = client.read_automations_by_name(automation.name)
        if not stored:
            client.create_automation(automation)
        # A needless update would reset the heartbeats counted so far.
        elif stored[0].model_dump(include=set(AutomationCore.model_fields)) != (
            automation.model_dump()
        ):
            client.update_automation(stored[0].id, automation)


def read_automations(notify_block: str | None = None) -> list[AutomationCore]:
    """The automations that a server gets.

    Args:
        notify_block: the id of the block that is notified of failures; nobody is without one.
    """
    *others, notification = yaml.safe_load(AUTOMATIONS_FILE.read_text())
    notification["actions"][0]["block_document_id"] = notify_block
    wanted = [*others, notification] if notify_block else others
    return [AutomationCore.model_validate(automation) for automation in wanted]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
