"""Registers the automations of `automations.yaml`: what the server does when a run dies."""

from pathlib import Path

import yaml
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import Automation, AutomationCore

FILE = Path(__file__).with_name("automations.yaml")


def read_automations(notify_block: str | None = None) -> list[AutomationCore]:
    """The automations that a server gets.

    Args:
        notify_block: the id of the block that is notified of failures; nobody is without one.
    """
    dead, crashed, failed = yaml.safe_load(FILE.read_text())
    failed["actions"][0]["block_document_id"] = notify_block
    wanted = [dead, crashed, failed] if notify_block else [dead, crashed]
    return [AutomationCore.model_validate(automation) for automation in wanted]


def register(notify: str | None = None) -> None:
    """Create the automations, or update those of the same name.

    Args:
        notify: the notification block for failures, `TYPE/NAME` as the server lists it.

    Raises:
        ObjectNotFound: there is no such block.
    """
    with get_client(sync_client=True) as client:
        block = None
        if notify:
            block_type, _, name = notify.partition("/")
            block = str(client.read_block_document_by_name(name, block_type).id)
        for automation in read_automations(block):
            stored = client.read_automations_by_name(automation.name)
            if not stored:
                client.create_automation(automation)
            elif not _is_same(stored[0], automation):
                client.update_automation(stored[0].id, automation)


def _is_same(stored: Automation, wanted: AutomationCore) -> bool:
    """Whether an update is needless; it would reset the heartbeats counted so far."""
    return stored.model_dump(include=set(AutomationCore.model_fields)) == wanted.model_dump()
