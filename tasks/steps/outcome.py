"""How a run is called and how it ended, as Prefect shows it: name, state, message and tags."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.utilities.callables import get_parameter_defaults
from pydantic import Field

from tasks.codes.published import run_folder
from tasks.core.errors import RefusedError, command
from tasks.reports.report import MARKDOWN_FILE
from tasks.runs.building import building_folder
from tasks.runs.manifest import Approval, Manifest, Outcome, name_run, short_name
from tasks.runs.rivals import loss_key
from tasks.steps.events import REFUSED, announce, announce_publication
from tasks.steps.prefect_artifacts import (
    artifact_key,
    failures_logged,
    show_history,
    show_results,
)
from tasks.steps.server import DECIDE_UNTIL

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
    title = None if outcome.unchanged else outcome.manifest.title
    _update_run(title, dataset, kind.replace(" ", "-"))
    message = describe_outcome(outcome)
    state: State[Any]
    if kind == "refused":
        refusal = RefusedError(message, outcome)
        state = Failed(name=STATES[kind], message=message, data=refusal)
    else:
        state = Completed(name=STATES[kind], message=message, data=outcome)
    return cast(Outcome, state)  # Prefect unpacks it


def show_outcome(manifest: Manifest, root: Path) -> Outcome:
    """Show the report of a run, and announce how it ended, unless it waits for a person."""
    outcome, waits = Outcome(manifest=manifest, unchanged=False), manifest.verdict.waits
    folder = (building_folder if waits else run_folder)(manifest.run, root)
    title = f"{manifest.verdict.outcome.capitalize()}: {describe_losses(outcome)}"
    show_results(manifest.dataset.name, title, folder / MARKDOWN_FILE, manifest.metrics)
    return outcome if waits else announce_outcome(manifest, root)


def announce_outcome(manifest: Manifest, root: Path) -> Outcome:
    """Show and announce how a run ended."""
    show_history(manifest.dataset.name, root)
    announce_publication(manifest.dataset.name, root)
    if manifest.verdict.outcome == "refused":
        announce(manifest, REFUSED)
    return Outcome(manifest=manifest, unchanged=False)


class Decision(RunInput):
    """What a person fills in, in Prefect's UI."""

    publish: bool = Field(False, title="Publish this run (otherwise it is refused)")
    name: str = Field("", title="Your name", max_length=200)
    note: str = Field("", title="Why", max_length=2000)


def ask_person(outcome: Outcome) -> Approval:
    """Return what a person decided about a run that waits for one.

    The process ends where nobody has decided yet: the run is suspended, and started again once
    somebody has. Called outside of `current_run`: its watch would end a process whose run is
    suspended for the server, perhaps before the server has the form.
    """
    approval = outcome.manifest.verdict.approval
    if approval is None:
        raise ValueError("The run does not wait for a person")
    with get_client(sync_client=True) as client:
        until = approval.until.isoformat()
        client.update_flow_run_labels(UUID(flow_run.get_id()), {DECIDE_UNTIL: until})
    form = Decision.with_initial_data(description=_describe_question(outcome.manifest, approval))
    given = suspend_flow_run(wait_for_input=form, key=approval.question)
    now = datetime.now(UTC)
    answer: Literal["publish", "refuse", "time-out"] = "publish" if given.publish else "refuse"
    if not (given.publish or given.name) and now >= approval.until:
        answer = "time-out"
    update = {"answer": answer, "name": given.name, "note": given.note, "time": now}
    return approval.model_copy(update=update)


def _describe_question(manifest: Manifest, approval: Approval) -> str:
    """What a person has to know, as markdown."""
    rivals = manifest.verdict.rivals
    rows = [
        f"| {model.name} | {manifest.metrics[model.name].validation_loss:.4f} | "
        f"{rivals[key].validation_loss:.4f} | {short_name(rivals[key].run)} |"
        for model in manifest.models
        if (key := loss_key(model)) in rivals
    ]
    table = ["| model | loss of this run | best published | of run |", "|---|---|---|---|", *rows]
    return (
        f"**{manifest.title}** passed the quality gate. {approval.reason}.\n\n"
        + "\n".join(table)
        + f"\n\nThe whole report is this run's artifact "
        f"`{artifact_key('report', manifest.dataset.name)}`. Without an answer until "
        f"{approval.until:%Y-%m-%d %H:%M} UTC, the run is refused."
    )


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


def _update_run(title: str | None, *tags: str) -> None:
    """Tag the flow run, so that runs can be filtered in the UI.

    Args:
        title: what it is called from now on, if its name was made on another day.
    """
    with failures_logged("the run's tags"), get_client(sync_client=True) as client:
        run, known = UUID(flow_run.get_id()), flow_run.get_tags() or []
        client.update_flow_run(run, name=title, tags=sorted({*known, *tags}))
