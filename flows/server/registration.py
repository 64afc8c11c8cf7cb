"""Registers the deployments and automations: what changed in their files, and nothing else.

The server keeps, in a Prefect variable, a digest of each value that was registered last. Only what
has another digest now is written, so that whatever a person changed or paused in the UI stays.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    VariableCreate,
    VariableUpdate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

VARIABLE = "autoencoder_flow_registered"
"""On the server: digests by deployment or automation, and then by the name of what was written."""
Digests = dict[str, str]


class Definition(NamedTuple):
    """A deployment of prefect.yaml."""

    name: str
    """Of the deployment; the flow's comes before it in `full_name`."""
    flow: str
    fields: dict[str, Any]
    """As Prefect's API names them."""
    schedules: dict[str, CronSchedule]
    """By slug."""
    triggers: list[DeploymentEventTrigger]

    @property
    def full_name(self) -> str:
        """As the server lists it."""
        return f"{self.flow}/{self.name}"


def read_definitions(file: Path, variables: Mapping[str, str]) -> list[Definition]:
    """The deployments of prefect.yaml.

    Args:
        variables: values of the placeholders `{{ $NAME }}`; the worker fills in all others.
    """
    configuration = yaml.safe_load(file.read_text())
    entries = _fill_in(configuration["deployments"], variables)
    return [_read_definition(entry, configuration["pull"], file.parent) for entry in entries]


def _read_definition(entry: dict[str, Any], pull: list[Any], folder: Path) -> Definition:
    path, _, function = entry["entrypoint"].partition(":")
    flow: Flow[..., Any] = load_flow_from_entrypoint(f"{folder / path}:{function}")
    pool = entry["work_pool"]
    fields = {
        "entrypoint": entry["entrypoint"],
        "description": entry["description"],
        "tags": entry["tags"],
        "parameters": entry["parameters"],
        "enforce_parameter_schema": entry["enforce_parameter_schema"],
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "pull_steps": entry.get("pull", pull),
        "job_variables": pool["job_variables"],
        "work_pool_name": pool["name"],
        "work_queue_name": pool.get("work_queue_name", "default"),
    }
    schedules = {
        schedule["slug"]: CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        for schedule in entry.get("schedules", [])
    }
    triggers = [DeploymentEventTrigger.model_validate(found) for found in entry.get("triggers", [])]
    return Definition(entry["name"], flow.name, fields, schedules, triggers)


def _fill_in(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace the placeholders of these variables in all texts of lists and tables."""
    if isinstance(value, dict):
        return {key: _fill_in(part, variables) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill_in(part, variables) for part in value]
    if isinstance(value, str):
        return re.sub(r"\{\{ \$(\w+) \}\}", lambda found: variables.get(found[1], found[0]), value)
    return value


@contextmanager
def registered_before(client: SyncPrefectClient) -> Iterator[dict[str, Digests]]:
    """Give the digests of what was registered last; what is made of them is stored at the end."""
    variable = client.read_variable_by_name(VARIABLE)
    before: Any = variable.value if variable else {}
    digests: dict[str, Digests] = dict(before)
    yield digests
    if variable is None:
        client.create_variable(VariableCreate(name=VARIABLE, value=digests))
    elif digests != before:
        client.update_variable(VariableUpdate(name=VARIABLE, value=digests))


def register_deployment(
    client: SyncPrefectClient, definition: Definition, before: Digests | None
) -> Digests:
    """Create a deployment, or write what changed; return the digests of all of it.

    Args:
        before: those of the last time; None if nobody knows, as it was another version of this.
    """
    now = _digests_of(definition)
    try:
        deployment = client.read_deployment_by_name(definition.full_name)
    except ObjectNotFound:
        flow = client.create_flow_from_name(definition.flow)
        schedules = list(map(_new_schedule, definition.schedules.items()))
        created = client.create_deployment(
            flow, definition.name, schedules=schedules, **definition.fields
        )
        _put_triggers(client, definition, created)
        return now
    changed = {name for name in now if (before or {}).get(name) != now[name]}
    _write_fields(client, definition, deployment.id, changed, unknown=before is None)
    if before is None:
        _name_schedules(client, definition, deployment)
    else:
        _write_schedules(client, definition, deployment, changed, before.keys() - now.keys())
    if "triggers" in changed:
        _put_triggers(client, definition, deployment.id)
    return now


def _digests_of(definition: Definition) -> Digests:
    schedules = {
        f"schedule {slug}": schedule.model_dump(mode="json")
        for slug, schedule in definition.schedules.items()
    }
    triggers = [trigger.model_dump() for trigger in definition.triggers]
    values = {**definition.fields, **schedules, "triggers": triggers}
    return {name: digest(value) for name, value in values.items()}


def digest(value: Any) -> str:
    """A few digits that tell whether a value changed; the order of a set does not matter."""
    text = json.dumps(value, sort_keys=True, default=_as_json)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def _write_fields(
    client: SyncPrefectClient,
    definition: Definition,
    identity: UUID,
    changed: set[str],
    unknown: bool,
) -> None:
    fields = {name: value for name, value in definition.fields.items() if name in changed}
    if {"work_pool_name", "work_queue_name"} & fields.keys():  # the one means nothing alone
        fields |= {name: definition.fields[name] for name in ("work_pool_name", "work_queue_name")}
    if unknown:
        fields["concurrency_limit"] = None  # earlier versions set one
    if fields:
        client.update_deployment(identity, DeploymentUpdate(**fields))


def _name_schedules(
    client: SyncPrefectClient, definition: Definition, deployment: DeploymentResponse
) -> None:
    """Give the schedules that an earlier version made the names by which they are found."""
    for slug, schedule in definition.schedules.items():
        for stored in deployment.schedules:
            if not stored.slug and stored.schedule == schedule:
                client.update_deployment_schedule(deployment.id, stored.id, slug=slug)


def _write_schedules(
    client: SyncPrefectClient,
    definition: Definition,
    deployment: DeploymentResponse,
    changed: set[str],
    gone: set[str],
) -> None:
    stored = {f"schedule {found.slug}": found.id for found in deployment.schedules if found.slug}
    for slug, schedule in definition.schedules.items():
        key = f"schedule {slug}"
        if key in changed and key in stored:  # a schedule that is paused stays paused
            client.update_deployment_schedule(deployment.id, stored[key], schedule=schedule)
        elif key in changed:
            client.create_deployment_schedules(deployment.id, [_new_schedule((slug, schedule))])
    for key in gone & stored.keys():
        client.delete_deployment_schedule(deployment.id, stored[key])


def _new_schedule(named: tuple[str, CronSchedule]) -> DeploymentScheduleCreate:
    slug, schedule = named
    return DeploymentScheduleCreate(slug=slug, schedule=schedule, active=True)


def _put_triggers(client: SyncPrefectClient, definition: Definition, deployment: UUID) -> None:
    wanted = []
    for trigger in definition.triggers:
        trigger.set_deployment_id(deployment)
        wanted.append(trigger.as_automation())
    if not any(client.read_automations_by_name(found.name) for found in wanted):
        # Those of an earlier version have other names.
        client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
    for automation in wanted:
        put_automation(client, automation)


def put_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create an automation or replace the one of this name, which stays disabled if it is."""
    stored = client.read_automations_by_name(automation.name)
    if stored:
        values = automation.model_dump(exclude={"owner_resource"})  # the server refuses a new one
        values["enabled"] = stored[0].enabled
        client.update_automation(stored[0].id, AutomationCore.model_validate(values))
    else:
        client.create_automation(automation)
