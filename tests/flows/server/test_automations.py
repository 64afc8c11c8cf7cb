from datetime import timedelta
from uuid import UUID

import yaml
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger

from flows.server.automations import read_automations
from flows.server.supervision import CODE

BLOCK = "00000000-0000-0000-0000-000000000001"


def test_a_run_is_dead_after_three_heartbeats_of_any_deployment() -> None:
    dead, _ = read_automations()
    assert isinstance(dead.trigger, EventTrigger)
    definitions = yaml.safe_load((CODE / "prefect.yaml").read_text())["definitions"]
    seconds = int(definitions["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert dead.trigger.within == timedelta(seconds=3 * seconds)


def test_failures_are_notified_only_where_a_block_is_named() -> None:
    *_, failed = read_automations(BLOCK)
    assert len(read_automations()) == 2
    (action,) = failed.actions
    assert isinstance(action, SendNotification)
    assert action.block_document_id == UUID(BLOCK)
