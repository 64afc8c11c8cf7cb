"""How a run is called and how it ended, as Prefect shows it: name, state, message and tags."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.utilities.callables import get_parameter_defaults

from tasks.core.errors import RefusedError, command
from tasks.runs.manifest import Outcome, name_run, short_name
from tasks.steps.prefect_artifacts import failures_logged

STATES = {
    "published": "Published",
    "unchanged": "Unchanged",
    "quick look": "Quick look",
    "refused": "Refused",
}
"""Name of the final state by outcome. Prefect names events after them, which automations match
(flows/server/automations.yaml)."""


def run_name(describe: Callable[[dict[str, Any]], str]) -> Callable[[], str]:
    """Make the function that names the runs of a flow.

    Args:
        describe: from the flow's validated parameters to the first words of the name.
    """

    def name() -> str:
        context = FlowRunContext.get()
        if context is None or context.flow is None or context.flow_run is None:
            raise RuntimeError("A flow run is named when it begins")
        parameters = get_parameter_defaults(context.flow.fn) | (context.parameters or {})
        return name_run(describe(parameters), datetime.now(UTC), str(context.flow_run.id))

    return name


def conclude(outcome: Outcome) -> Outcome:
    """The final state of a retraining, which the flow returns; its callers get the outcome.

    Where the quality gate refused the run, they get `RefusedError`, whose result is the outcome.
    """
    dataset, kind = outcome.manifest.dataset.name, outcome.kind
    _add_tags(dataset, kind.replace(" ", "-"))
    message = describe_outcome(outcome)
    state: State[Any]
    if kind == "refused":
        refusal = RefusedError(message, outcome)
        state = Failed(name=STATES[kind], message=message, data=refusal)
    else:
        state = Completed(name=STATES[kind], message=message, data=outcome)
    return cast(Outcome, state)  # Prefect unpacks it


def describe_outcome(outcome: Outcome) -> str:
    """What became of a run, in a sentence or two."""
    manifest, dataset = outcome.manifest, outcome.manifest.dataset.name
    run = short_name(manifest.run)
    if outcome.kind == "unchanged":
        return f"Nothing to do: it would only repeat run {run}, which readers of {dataset} get"
    if outcome.kind == "quick look":
        return f"One epoch of each model: {describe_losses(outcome)}. Not published"
    if outcome.kind == "published":
        return f"Readers of {dataset} now get this run: {describe_losses(outcome)}"
    return (
        f"Not published: {manifest.verdict.reason} It is kept. To publish it anyway: "
        f"{command(f'tasks.runs publish {run} --anyway')}"
    )


def describe_losses(outcome: Outcome) -> str:
    """The validation loss of each model."""
    metrics = outcome.manifest.metrics.items()
    return ", ".join(f"{name} loss {found.validation_loss:.4f}" for name, found in metrics)


def _add_tags(*tags: str) -> None:
    """Tag the flow run, so that runs can be filtered in the UI."""
    with failures_logged("the run's tags"), get_client(sync_client=True) as client:
        run, known = UUID(flow_run.get_id()), flow_run.get_tags() or []
        client.update_flow_run(run, tags=sorted({*known, *tags}))
