from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentEventTrigger

from flows.server import registration
from flows.server.deploy import DEFAULTS, DEPLOYMENTS_FILE, QUEUES
from flows.server.registration import Definition, register_deployment

pytestmark = pytest.mark.usefixtures("prefect_server")
WEEKLY = CronSchedule(cron="0 3 * * 0", timezone="UTC")
DAILY = CronSchedule(cron="0 4 * * *", timezone="UTC")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def definition(client: SyncPrefectClient) -> Definition:
    """A deployment that no other test has, with a schedule and a trigger."""
    pool = client.create_work_pool(WorkPoolCreate(name=f"pool-{uuid4()}", type="process"))
    fields = {"entrypoint": "a.py:b", "description": "first", "work_pool_name": pool.name}
    fields["work_queue_name"] = "default"
    trigger = DeploymentEventTrigger(name=f"trigger {uuid4()}", expect={"codes.published"})
    return Definition(f"test-{uuid4()}", "retrain", fields, {"weekly": WEEKLY}, [trigger])


def with_fields(definition: Definition, **fields: Any) -> Definition:
    return definition._replace(fields={**definition.fields, **fields})


def stored(client: SyncPrefectClient, definition: Definition) -> DeploymentResponse:
    return client.read_deployment_by_name(definition.full_name)


def add_schedule(
    client: SyncPrefectClient, deployment: UUID, schedule: CronSchedule, active: bool
) -> None:
    """As the UI does: without a name."""
    new = DeploymentScheduleCreate(schedule=schedule, active=active)
    client.create_deployment_schedules(deployment, [new])


def pause_everything(client: SyncPrefectClient, definition: Definition) -> None:
    """Pause a deployment in both ways, and add a schedule."""
    found = stored(client, definition)
    client.update_deployment(found.id, DeploymentUpdate(paused=True))
    (schedule,) = found.schedules
    client.update_deployment_schedule(found.id, schedule.id, active=False)
    add_schedule(client, found.id, DAILY, active=True)


def schedules_of(client: SyncPrefectClient, definition: Definition) -> set[tuple[Any, ...]]:
    found = stored(client, definition).schedules
    assert all(isinstance(one.schedule, CronSchedule) for one in found)
    return {(one.slug, one.active, getattr(one.schedule, "cron", None)) for one in found}


def test_what_a_person_paused_or_added_stays(
    client: SyncPrefectClient, definition: Definition
) -> None:
    before = register_deployment(client, definition, None)
    assert schedules_of(client, definition) == {("weekly", True, WEEKLY.cron)}
    pause_everything(client, definition)
    changed = with_fields(definition, description="second")
    for known in (before, before, None):  # None: by an earlier version, which noted nothing
        register_deployment(client, changed, known)
        assert stored(client, definition).paused
        assert stored(client, definition).description == "second"
        expected = {("weekly", False, WEEKLY.cron), (None, True, DAILY.cron)}
        assert schedules_of(client, definition) == expected


def test_what_a_person_changed_stays_until_the_file_changes(
    client: SyncPrefectClient, definition: Definition
) -> None:
    before = register_deployment(client, definition, None)
    found = stored(client, definition)
    client.update_deployment(found.id, DeploymentUpdate(description="by hand", tags=["mine"]))
    again = register_deployment(client, definition, before)
    assert stored(client, definition).description == "by hand"
    register_deployment(client, with_fields(definition, description="second"), again)
    assert stored(client, definition).description == "second"
    assert stored(client, definition).tags == ["mine"]


def test_a_changed_schedule_is_written_and_stays_paused(
    client: SyncPrefectClient, definition: Definition
) -> None:
    before = register_deployment(client, definition, None)
    pause_everything(client, definition)
    changed = definition._replace(schedules={"weekly": DAILY, "second": WEEKLY})
    now = register_deployment(client, changed, before)
    ours = {("weekly", False, DAILY.cron), ("second", True, WEEKLY.cron)}
    assert schedules_of(client, definition) == {*ours, (None, True, DAILY.cron)}
    register_deployment(client, definition._replace(schedules={}), now)
    assert schedules_of(client, definition) == {(None, True, DAILY.cron)}


def test_a_schedule_of_an_earlier_version_is_recognized(
    client: SyncPrefectClient, definition: Definition
) -> None:
    register_deployment(client, definition._replace(schedules={}), None)
    found = stored(client, definition)
    add_schedule(client, found.id, WEEKLY, active=False)
    register_deployment(client, definition, None)
    assert schedules_of(client, definition) == {("weekly", False, WEEKLY.cron)}


def test_a_trigger_that_is_disabled_stays_disabled(
    client: SyncPrefectClient, definition: Definition
) -> None:
    register_deployment(client, definition, None)
    (trigger,) = definition.triggers
    (automation,) = client.read_automations_by_name(str(trigger.name))
    client.pause_automation(automation.id)
    register_deployment(client, definition, None)
    (again,) = client.read_automations_by_name(str(trigger.name))
    assert (again.id, again.enabled) == (automation.id, False)


def test_digests_are_kept_on_the_server(client: SyncPrefectClient) -> None:
    with registration.registered_before(client) as digests:
        digests["a/b"] = {"field": "1"}
    with registration.registered_before(client) as digests:
        assert digests.pop("a/b") == {"field": "1"}
    with registration.registered_before(client) as digests:
        assert "a/b" not in digests


def test_the_deployments_of_the_project() -> None:
    """The worker knows where the code is; whoever registers may be on another machine."""
    definitions = {
        found.full_name: found
        for found in registration.read_definitions(
            DEPLOYMENTS_FILE, {**DEFAULTS, "AUTOENCODER_STACK": "mine"}
        )
    }
    weekly, gpu = definitions["retrain/weekly"], definitions["retrain/container-gpu"]
    (step,) = weekly.fields["pull_steps"]
    assert list(step.values()) == [{"directory": "{{ $AUTOENCODER_CODE }}"}]
    assert gpu.fields["job_variables"]["image"] == "mine:gpu"
    assert set(weekly.schedules) == {"weekly"}
    for found in definitions.values():
        queue = found.fields["work_queue_name"]
        assert queue == "default" or queue in QUEUES[found.fields["work_pool_name"]]
        assert found.fields["tags"] == ["autoencoder-flow"], (
            "the rescue and the notification need it"
        )
