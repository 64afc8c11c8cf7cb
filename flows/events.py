"""What happened to a run's codes, told to whatever is listening on the Prefect server.

An event may arrive twice: the attempt that makes good what an earlier one missed tells it again.
Consumers tell copies apart by the hashes in it.
"""

from typing import Any

from prefect.events import emit_event
from prefect.events.worker import EventsWorker, should_emit_events

from flows.artifacts import failures_logged
from tasks.manifests import Manifest

PUBLISHED = "codes.published"
REFUSED = "codes.refused"


def announce(manifest: Manifest) -> None:
    """Emit `codes.published` or `codes.refused`, and wait until it is sent."""
    names = {"published": PUBLISHED, "refused": REFUSED}
    event = names.get(manifest.verdict.outcome)
    if event is None or not should_emit_events():
        return
    with failures_logged(f"of the event {event}"):
        emit_event(event, resource=_resource(manifest), payload=_payload(manifest))
        EventsWorker.instance().wait_until_empty()


def _resource(manifest: Manifest) -> dict[str, str]:
    return {
        "prefect.resource.id": f"autoencoder-flow.codes.{manifest.dataset.name}",
        "prefect.resource.name": manifest.dataset.name,
        "autoencoder-flow.run": manifest.run,
    }


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
