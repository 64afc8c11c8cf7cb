"""What the server does by itself when a run dies."""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

FLOWS = ["retrain", "neighbors", "sweep", "encode"]
SILENCE_SECONDS = 90
"""Three heartbeats of a run that a worker started (see prefect.yaml)."""
REST_SECONDS = 15
"""Between a crash and the next attempt."""
ATTEMPTS = 3
"""How often a run that died is started again."""
OF_OURS = ResourceSpecification(
    {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
)
BY_A_WORKER = [OF_OURS, ResourceSpecification({"prefect.resource.role": "deployment"})]
"""Runs that somebody can start again. One from the command line belongs to who typed it."""
ENDINGS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}


def automations() -> list[AutomationCore]:
    """The automations that every server gets."""
    return [_mark_dead_runs(), _start_crashed_runs_again()]


def _mark_dead_runs() -> AutomationCore:
    """A run that neither ends nor gives a sign of life has lost its process."""
    return AutomationCore(
        name="autoencoder-flow: mark dead runs as crashed",
        description=f"No heartbeat for {SILENCE_SECONDS} s: the run's process has vanished.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ENDINGS},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=BY_A_WORKER,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"No heartbeat for {SILENCE_SECONDS} s: the process has vanished",
            )
        ],
    )


def _start_crashed_runs_again() -> AutomationCore:
    """The next attempt resumes from the checkpoint; too many deaths have a cause to look into.

    Not at once: the run's own process and its worker both report a crash, seconds apart, and the
    second report would end the next attempt.
    """
    return AutomationCore(
        name="autoencoder-flow: start crashed runs again",
        description=f"At most {ATTEMPTS} times; the next attempt resumes where the last one died.",
        trigger=EventTrigger(
            after={"prefect.flow-run.Crashed"},
            expect={
                f"prefect.flow-run.{state}" for state in ("AwaitingRetry", "Pending", "Running")
            },
            match=ResourceSpecification(
                {
                    "prefect.resource.id": "prefect.flow-run.*",
                    "prefect.run-count": [str(count) for count in range(1, ATTEMPTS + 1)],
                }
            ),
            match_related=BY_A_WORKER,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=REST_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.SCHEDULED,
                name="AwaitingRetry",
                message="The run's process died; the next attempt resumes",
                force=True,
            )
        ],
    )


def _notify(block: UUID) -> AutomationCore:
    """Tell a person about runs that failed, were refused by the gate (they fail too) or crashed."""
    return AutomationCore(
        name="autoencoder-flow: notify of failures",
        description="Runs that failed or crashed, those that the quality gate refused included.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=OF_OURS,
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="{{ flow.name }} {{ flow_run.state.name | lower }}: {{ flow_run.name }}",
                body="{{ flow_run.state.message }}\n{{ flow_run | ui_url }}",
            )
        ],
    )


def register(notify: str | None = None) -> None:
    """Create the automations, or bring those of the same name up to date.

    Args:
        notify: the notification block to tell about failures, `TYPE/NAME` as the server lists it.

    Raises:
        ObjectNotFound: there is no such block.
    """
    with get_client(sync_client=True) as client:
        wanted = automations()
        if notify:
            block_type, _, name = notify.partition("/")
            block = client.read_block_document_by_name(name, block_type)
            wanted.append(_notify(block.id))
        for automation in wanted:
            stored = client.read_automations_by_name(automation.name)
            if not stored:
                client.create_automation(automation)
            elif not _is_same(stored[0], automation):
                client.update_automation(stored[0].id, automation)


def _is_same(stored: Automation, wanted: AutomationCore) -> bool:
    """Whether an update would change nothing but forget the heartbeats that were counted so far."""
    return stored.model_dump(include=set(AutomationCore.model_fields)) == wanted.model_dump()
