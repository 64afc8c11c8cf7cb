import socket
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.core.errors import TransientError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs.journal import read_journal
from tasks.runs.publication import publish
from tasks.steps import events
from tasks.steps import retrain as steps
from tasks.steps.events import PUBLISHED, announce, announce_publication
from tests.conftest import METRICS, complete
from tests.waiting import wait_until

NOWHERE = "http://127.0.0.1:9/api"
BAD = METRICS.model_copy(update={"reconstruction_mse": 9.0})


@flow
def second_attempt(run: str) -> None:
    """What a retry of a run does when the first attempt was killed after it was published."""
    steps.find_earlier_attempt(run)


def stored_events(until: str) -> dict[str, dict[str, Any]]:
    """The events on the server, by run, as soon as it has stored that of a run."""
    wanted = {"filter": {"event": {"prefix": ["codes."]}}, "limit": 50}

    def find() -> dict[str, dict[str, Any]] | None:
        page = client.request("POST", "/events/filter", json=wanted).json()
        found = {event["payload"]["run"]: event for event in page["events"]}
        return found if until in found else None

    with get_client(sync_client=True) as client:
        return wait_until(find)


@pytest.mark.usefixtures("prefect_server")
def test_a_retry_announces_what_a_killed_attempt_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("published-1", model, dataset, root)
    second_attempt("published-1")
    event = stored_events("published-1")["published-1"]
    assert event["event"] == "codes.published"
    assert event["resource"]["prefect.resource.id"] == f"autoencoder-flow.codes.{dataset.name}"
    assert event["payload"]["path"] == "runs/published-1"
    assert event["payload"]["bases"] == {"shallow": model.basis}
    assert event["payload"]["codes"] == {
        file.path: file.sha256 for file in manifest.files if file.path.startswith("codes/")
    }
    assert event["payload"]["metrics"]["shallow"]["mse"] == METRICS.reconstruction_mse
    assert [entry["prefect.resource.role"] for entry in event["related"]] == ["flow-run"]


@pytest.mark.usefixtures("prefect_server")
def test_a_refusal_is_announced_with_its_reason(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("refused-1", model, dataset, root, BAD)
    second_attempt("refused-1")
    event = stored_events("refused-1")["refused-1"]
    assert event["event"] == "codes.refused"
    assert event["payload"]["reason"] == manifest.verdict.reason


@pytest.mark.usefixtures("prefect_server")
def test_a_superseded_run_is_not_announced(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("old", model, dataset, root)
    complete("new", model, dataset, root)
    second_attempt("old")
    second_attempt("new")
    assert "old" not in stored_events(until="new")


@pytest.mark.usefixtures("prefect_server")
def test_whoever_comes_next_announces_what_was_published_once(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    """The run was killed before it could, or a person published an earlier one."""

    @flow
    def come_next() -> None:
        announce_publication(dataset.name, root)

    def announced() -> list[bool]:
        return [entry.announced for entry in read_journal(dataset.name, root).publications]

    complete("first", model, dataset, root)
    complete("second", model, dataset, root)
    assert announced() == [False, False]
    come_next()
    assert "second" in stored_events(until="second")
    publish("first", root)
    assert announced() == [False, True, False]
    come_next()
    assert "first" in stored_events(until="first")
    assert announced() == [False, True, True]
    with temporary_settings({PREFECT_API_URL: NOWHERE}):
        announce_publication(dataset.name, root)  # nothing to announce: no request


def test_a_refused_run_that_a_person_published_is_announced_as_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(
        events, "announce", lambda manifest, name: sent.append((manifest.run, name))
    )
    complete("refused", model, dataset, root, BAD)
    announce_publication(dataset.name, root)
    assert sent == []
    publish("refused", root, anyway=True)
    announce_publication(dataset.name, root)
    assert sent == [("refused", "codes.published")]


def test_a_server_that_cannot_be_reached_is_a_transient_failure(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    with (
        temporary_settings({PREFECT_API_URL: NOWHERE}),
        pytest.raises(
            TransientError, match="Prefect did not accept the event codes.published of run run-1"
        ),
    ):
        announce(manifest, PUBLISHED)


def test_a_server_that_does_not_answer_is_a_transient_failure(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = complete("run-1", model, dataset, root)
    monkeypatch.setattr(events, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_server = {
            PREFECT_API_URL: f"http://127.0.0.1:{silent.getsockname()[1]}/api",
            PREFECT_CLIENT_MAX_RETRIES: 0,
        }
        with temporary_settings(silent_server), pytest.raises(TransientError, match="Timeout"):
            announce(manifest, PUBLISHED)
