"""What happened to a run's codes, told to whatever is listening on the Prefect server.

An event may arrive twice: the attempt that makes good what an earlier one missed tells it again.
Consumers tell copies apart by the hashes in it.
"""

from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run

from tasks.core.errors import TransientError
from tasks.runs.manifest import Manifest

PUBLISHED = "codes.published"
REFUSED = "codes.refused"
ANSWER_SECONDS = 10
"""How long the server may take to answer."""


def announce(manifest: Manifest) -> None:
    """Emit `codes.published` or `codes.refused`.

    Not through Prefect's queue of events: whoever waits for that one waits for ever where the
    server is away, and is not told of what got lost.

    Raises:
        TransientError: the server did not take it.
    """
    names = {"published": PUBLISHED, "refused": REFUSED}
    name = names.get(manifest.verdict.outcome)
    if name is None:
        return
    event = Event(
        event=name,
        resource=_resource(manifest),
        related=[_flow_run()],
        payload=_payload(manifest),
    )
    try:
        with get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except httpx.HTTPError as error:
        raise TransientError(
            f"Run {manifest.run} is {manifest.verdict.outcome}, but Prefect did not take the event "
            f"{name}: {type(error).__name__}: {error}. The next attempt tells it again"
        ) from error


def _resource(manifest: Manifest) -> Resource:
    return Resource(
        {
            "prefect.resource.id": f"autoencoder-flow.codes.{manifest.dataset.name}",
            "prefect.resource.name": manifest.dataset.name,
            "autoencoder-flow.run": manifest.run,
        }
    )


def _flow_run() -> RelatedResource:
    """The flow run that is under way; the UI shows the event beside it."""
    return RelatedResource(
        {
            "prefect.resource.id": f"prefect.flow-run.{flow_run.get_id()}",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": str(flow_run.get_name()),
        }
    )


def _payload(manifest: Manifest) -> dict[str, Any]:
    return {
        "dataset": manifest.dataset.name,
        "run": manifest.run,
        "path": f"runs/{manifest.run}",
        "reason": manifest.verdict.reason,
        "codes": {
            file.path: file.sha256 for file in manifest.files if file.path.startswith("codes/")
        },
        "metrics": {
            name: {"validation_loss": found.validation_loss, "mse": found.reconstruction_mse}
            for name, found in manifest.metrics.items()
        },
    }
