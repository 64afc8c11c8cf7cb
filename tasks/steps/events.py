"""Prefect events about a run's codes: published, confirmed or refused.

An event may be sent twice, as a retry of a run sends it again. Consumers recognize copies by the
hashes in it.
"""

from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run

from tasks.core.errors import TransientError
from tasks.runs.manifest import Manifest
from tasks.runs.outbox import find_unannounced, record_announcement

PUBLISHED = "codes.published"
CONFIRMED = "codes.confirmed"
REFUSED = "codes.refused"
ANSWER_SECONDS = 10
"""How long the server may take to answer."""


def announce_publication(dataset: str, root: Path) -> None:
    """Announce what is published, unless that was done; also what others published.

    Raises:
        TransientError: the server did not accept the event.
    """
    if manifest := find_unannounced(dataset, root):
        announce(manifest, PUBLISHED)
        record_announcement(manifest, root)


def announce(manifest: Manifest, name: str) -> None:
    """Send one of the events above about a run to the Prefect server.

    Not with `emit_event`: its queue loses events silently while the server cannot be reached, and
    waiting for it has no time limit.

    Raises:
        TransientError: the server did not accept the event.
    """
    resource = {
        "prefect.resource.id": f"autoencoder-flow.codes.{manifest.dataset.name}",
        "prefect.resource.name": manifest.dataset.name,
        "autoencoder-flow.run": manifest.run,
    }
    related = {  # the UI shows the event with the flow run
        "prefect.resource.id": f"prefect.flow-run.{flow_run.get_id()}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": str(flow_run.get_name()),
    }
    event = Event(
        event=name,
        resource=Resource(resource),
        related=[RelatedResource(related)],
        payload=_payload(manifest),
    )
    try:
        with get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except httpx.HTTPError as error:
        raise TransientError(
            f"Prefect did not accept the event {name} of run {manifest.run}: "
            f" {type(error).__name__}: {error}. A retry sends it again"
        ) from error


def _payload(manifest: Manifest) -> dict[str, Any]:
    codes = {file.path: file.sha256 for file in manifest.files if file.path.startswith("codes/")}
    return {
        "dataset": manifest.dataset.name,
        "run": manifest.run,
        "path": f"runs/{manifest.run}",
        "reason": manifest.verdict.reason,
        "codes": codes,
        "bases": {model.name: model.basis for model in manifest.models},
        "metrics": {
            name: {"validation_loss": metrics.validation_loss, "mse": metrics.reconstruction_mse}
            for name, metrics in manifest.metrics.items()
        },
    }
