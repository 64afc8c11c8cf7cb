import os
import re
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from uuid import UUID

import pytest
from prefect.events import EventTrigger
from prefect.events.actions import SendNotification
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.server import deploy, registration
from flows.server.deploy import read_automations
from flows.server.supervision import CODE

BLOCK = "00000000-0000-0000-0000-000000000001"


def test_nothing_is_registered_on_a_server_that_nobody_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert deploy.main([]) == 1
    assert capsys.readouterr().err == ("PREFECT_API_URL is not set: set it, or use `make serve`\n")


def test_a_server_that_cannot_be_reached_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(nowhere):
        assert deploy.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Could not reach the Prefect server at http://127.0.0.1:9/api, ")


def test_every_variable_of_the_deployments_has_a_value() -> None:
    used = set(re.findall(r"\{\{ \$(\w+) \}\}", (CODE / "prefect.yaml").read_text()))
    assert used == {*deploy.DEFAULTS, "AUTOENCODER_CODE"}  # the last one from the worker


def test_failures_are_notified_only_where_a_block_is_named() -> None:
    (overdue,) = read_automations()
    assert [action.type for action in overdue.actions] == ["do-nothing"]
    for automation in read_automations(BLOCK):
        (action,) = automation.actions
        assert isinstance(action, SendNotification)
        assert action.block_document_id == UUID(BLOCK)


def test_results_are_overdue_after_the_time_that_the_deployment_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def within() -> timedelta:
        trigger = read_automations()[0].trigger
        assert isinstance(trigger, EventTrigger)
        return trigger.within

    assert within() == timedelta(days=8)
    monkeypatch.setenv("AUTOENCODER_MAX_AGE_HOURS", "2")
    assert within() == timedelta(hours=2)


DIGEST = """
from flows.server.deploy import read_automations
from flows.server.registration import digest
print([digest(automation.model_dump()) for automation in read_automations()])
"""


def test_an_automation_has_the_same_digest_in_each_process() -> None:
    """Python's sets differ in their order from process to process."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("places", "before", "pools"),
    [
        ([], {}, {"autoencoders"}),
        (["docker"], {}, {"autoencoders", "autoencoders-docker"}),
        ([], {"retrain/container": {}}, {"autoencoders", "autoencoders-docker"}),
        (["kubernetes"], {}, {"autoencoders", "autoencoders-kubernetes"}),
    ],
)
def test_deployments_are_registered_where_workers_can_run_them(
    places: list[str],
    before: dict[str, registration.Digests],
    pools: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = dict(before)
    prepared: list[str] = []
    monkeypatch.setattr(registration, "registered_before", lambda client: nullcontext(digests))
    monkeypatch.setattr(registration, "register_deployment", lambda *arguments: {"field": "1"})
    monkeypatch.setattr(deploy, "get_client", lambda sync_client: nullcontext())
    monkeypatch.setattr(deploy, "register_automations", lambda *arguments: None)
    monkeypatch.setattr(
        deploy, "prepare_work_pool", lambda client, pool, digests: prepared.append(pool)
    )
    deploy.deploy(places=places)
    assert set(prepared) == pools
    assert {"retrain/weekly", "retrain/quick-look"} <= digests.keys()
    assert ("retrain/container-gpu" in digests) is ("docker" in places)
