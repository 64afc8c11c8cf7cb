"""`make deploy`: registers work pools, deployments and automations on a Prefect server.

PREFECT_API_URL names the server; doing it again writes only what changed in prefect.yaml or in
automations.yaml: whatever was paused, added or changed in the UI stays.
"""

import argparse
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings

from flows.server import registration
from flows.server.supervision import CODE
from tasks.core.errors import StepError
from tasks.core.settings import read_settings
from tasks.steps.server import server_errors_explained

WORK_POOL = "autoencoders"
PLACES = {"docker": "autoencoders-docker", "kubernetes": "autoencoders-kubernetes"}
"""Work pools by the kind of worker that they need, and that only some servers have."""
WORK_POOLS = {WORK_POOL: "process", **{pool: kind for kind, pool in PLACES.items()}}
"""Type by name."""
QUEUES = {
    WORK_POOL: {"retrain": 1, "sweep": 1},
    **{pool: {"retrain": 1, "retrain-gpu": 1} for pool in PLACES.values()},
}
"""By work pool and queue, how many of its runs may be under way; unlimited in other queues.

Not a concurrency limit of the deployment: its slot is a lease, and Prefect ends a run whose lease
could not be renewed because the server was away. A queue counts the runs that are under way.
"""
STACK = "autoencoder-flow"
DEFAULTS = {
    "AUTOENCODER_STACK": STACK,
    "AUTOENCODER_IMAGE": STACK,
    "AUTOENCODER_KEEP": "",
    "AUTOENCODER_GRACE_HOURS": "",
    "AUTOENCODER_APPROVAL_TOLERANCE": "",
    "AUTOENCODER_APPROVAL_HOURS": "",
    "AUTOENCODER_PUBLISH_TO": "",
}
"""Of the variables that `prefect.yaml` takes from whoever registers it."""
DEPLOYMENTS_FILE = CODE / "prefect.yaml"
AUTOMATIONS_FILE = Path(__file__).with_name("automations.yaml")
JOB_FILE = Path(__file__).with_name("kubernetes-job.yaml")
"""The base job template of the Kubernetes work pool; workers of other pools set theirs."""
OBSOLETE = (
    "autoencoder-flow: mark dead runs as crashed",
    "autoencoder-flow: start crashed runs again",
)
"""Automations of version 0.1.0; `flows/server/rescue.py` took their place."""


def main(arguments: list[str]) -> int:
    """Register everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.server.deploy", description=__doc__)
    parser.add_argument(
        "--notify",
        metavar="TYPE/NAME",
        help="notification block of the server for runs that fail and overdue results, for example "
        "slack-webhook/night-shift",
    )
    parser.add_argument(
        "--on",
        action="append",
        choices=list(PLACES),
        default=[],
        help="also register the deployments whose runs need a worker of this kind; may be repeated",
    )
    options = parser.parse_args(arguments)
    if get_current_settings().api.url is None:  # a temporary server would forget everything
        print("PREFECT_API_URL is not set: set it, or use `make serve`", file=sys.stderr)
        return 1
    try:
        with server_errors_explained():
            deploy(options.notify, options.on)
    except ObjectNotFound:
        print(f"The server has no block {options.notify}: create it first", file=sys.stderr)
        return 1
    except StepError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def deploy(notify: str | None = None, places: Collection[str] = ()) -> None:
    """Register everything that the server's workers can run.

    Without a worker a deployment would be listed as "Not Ready" for ever.

    Args:
        notify: the notification block for failures and overdue results, `TYPE/NAME` as the server
            lists it.
        places: which of `PLACES` to register too; what was registered before is kept up to date.

    Raises:
        ObjectNotFound: there is no such block.
        HTTPError: the server cannot be reached, or refused a request.
    """
    variables = {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}
    with get_client(sync_client=True) as client:
        asked = {WORK_POOL, *(PLACES[place] for place in places)}
        with registration.registered_before(client) as digests:
            for definition in registration.read_definitions(DEPLOYMENTS_FILE, variables):
                name, pool = definition.full_name, definition.fields["work_pool_name"]
                if pool in asked or name in digests:
                    prepare_work_pool(client, pool, digests)
                    digests[name] = registration.register_deployment(
                        client, definition, digests.get(name)
                    )
            register_automations(client, notify, digests)


def prepare_work_pool(
    client: SyncPrefectClient, pool: str, digests: dict[str, registration.Digests]
) -> None:
    """Create a work pool and its queues, if they are missing; write its job if that changed."""
    job = yaml.safe_load(JOB_FILE.read_text()) if pool == PLACES["kubernetes"] else {}
    now = {"job": registration.digest(job)}
    try:
        client.create_work_pool(
            WorkPoolCreate(name=pool, type=WORK_POOLS[pool], base_job_template=job)
        )
    except ObjectAlreadyExists:
        if job and digests.get(pool) != now:
            client.update_work_pool(pool, WorkPoolUpdate(base_job_template=job))
    if job:
        digests[pool] = now
    for queue, limit in QUEUES[pool].items():
        with suppress(ObjectAlreadyExists):
            client.create_work_queue(queue, work_pool_name=pool, concurrency_limit=limit)


def register_automations(
    client: SyncPrefectClient, notify: str | None, digests: dict[str, registration.Digests]
) -> None:
    """Write the automations that changed; delete those of earlier versions."""
    block = None
    if notify:
        block_type, _, name = notify.partition("/")
        block = str(client.read_block_document_by_name(name, block_type).id)
    for automation in read_automations(block):
        now = {"automation": registration.digest(automation.model_dump())}
        if digests.get(automation.name) != now:
            registration.put_automation(client, automation)
            digests[automation.name] = now
    for name in OBSOLETE:
        for stored in client.read_automations_by_name(name):
            client.delete_automation(stored.id)


def read_automations(notify_block: str | None = None) -> list[AutomationCore]:
    """The automations that a server gets beside the triggers of the deployments.

    Args:
        notify_block: the id of the block that is notified of failures and overdue results; without
            one, nobody is, and overdue results are only an event.
    """
    failures, overdue = yaml.safe_load(AUTOMATIONS_FILE.read_text())
    overdue["trigger"]["within"] = read_settings().max_age.total_seconds()
    if notify_block is None:
        overdue["actions"] = [{"type": "do-nothing"}]
        return [AutomationCore.model_validate(overdue)]
    for automation in (failures, overdue):
        automation["actions"][0]["block_document_id"] = notify_block
    return [AutomationCore.model_validate(automation) for automation in (failures, overdue)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
