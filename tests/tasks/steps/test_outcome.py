from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tasks.core.errors import RefusedError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import RunParameters
from tasks.runs.manifest import Approval, Manifest, Outcome
from tasks.steps.outcome import Decision, ask_person, conclude, run_name
from tasks.steps.server import DECIDE_UNTIL
from tests.approval import complete_waiting
from tests.conftest import METRICS, complete

pytestmark = pytest.mark.usefixtures("prefect_server")

QUICK = RunParameters(quick=True)


def concluded(outcome: Outcome) -> dict[str, Any]:
    """The flow run that ends with this outcome, as the server knows it."""
    runs = []

    @flow
    def concluding() -> Outcome:
        runs.append(UUID(flow_run.get_id()))
        return conclude(outcome)

    with tags("mine"):
        if outcome.kind == "refused":
            with pytest.raises(RefusedError) as refusal:
                concluding()
            assert refusal.value.result == outcome
        else:
            assert concluding() == outcome
    with get_client(sync_client=True) as client:
        return client.read_flow_run(runs[0]).model_dump(mode="json")


@pytest.fixture
def published(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Manifest:
    return complete("run-1", model, dataset, root)


def test_a_published_run_is_called_so(published: Manifest) -> None:
    run = concluded(Outcome(manifest=published, unchanged=False))
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Published")
    assert run["state"]["message"] == (
        f"Readers of {published.dataset.name} now get this run: shallow loss 0.3000"
    )
    assert set(run["tags"]) == {"mine", published.dataset.name, "published"}


def test_an_unchanged_run_names_the_one_it_would_repeat(published: Manifest) -> None:
    run = concluded(Outcome(manifest=published, unchanged=True))
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Unchanged")
    assert "only repeat run run-1" in run["state"]["message"]


def test_a_quick_look_is_called_so(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    manifest = complete("run-1", model, dataset, root, settings=QUICK)
    run = concluded(Outcome(manifest=manifest, unchanged=False))
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Quick look")
    assert "quick-look" in run["tags"]


def test_a_refused_run_has_failed_with_the_reason_and_the_way_out(
    published: Manifest, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    worse = METRICS.model_copy(update={"validation_loss": 0.31})
    manifest = complete("run-2", model, dataset, root, worse)
    run = concluded(Outcome(manifest=manifest, unchanged=False))
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Refused")
    assert manifest.verdict.reason in run["state"]["message"]
    assert "python -m tasks.runs publish run-2 --anyway" in run["state"]["message"]


def test_a_run_s_name_says_what_it_is_about_and_ends_in_the_start_of_its_id() -> None:
    @flow(flow_run_name=run_name(lambda given: f"{given['words']}-seed{given['seed']}"))
    def named(words: str, seed: int = 3) -> tuple[str, str]:
        return str(flow_run.get_id()), str(flow_run.get_name())

    run, name = named("boots")
    assert name.startswith("boots-seed3-20")
    assert name.endswith(f"-{run[:8]}")


@pytest.fixture
def waiting(
    model: ModelRecord, dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Outcome:
    monkeypatch.setenv("AUTOENCODER_APPROVAL_TOLERANCE", "0.005")
    return Outcome(manifest=complete_waiting(model, dataset, root), unchanged=False)


def asked(
    outcome: Outcome, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Approval, str, dict[str, Any]]:
    """What a person who fills in the form decided, the text above the form, the run's labels."""
    texts = []

    def suspend(wait_for_input: type[Decision], key: str) -> Decision:
        approval = outcome.manifest.verdict.approval
        assert approval
        assert key == approval.question
        texts.append(str(wait_for_input._description))
        return wait_for_input(**given)

    monkeypatch.setattr("tasks.steps.outcome.suspend_flow_run", suspend)

    @flow
    def asking() -> tuple[Approval, UUID]:
        return ask_person(outcome), UUID(flow_run.get_id())

    approval, run = asking()
    with get_client(sync_client=True) as client:
        return approval, texts[0], client.read_flow_run(run).labels


def test_a_person_is_shown_the_comparison_and_decides(
    waiting: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"publish": True, "name": "Ada", "note": "good enough"}
    approval, text, labels = asked(waiting, given, monkeypatch)
    assert (approval.answer, approval.name, approval.note) == ("publish", "Ada", "good enough")
    assert approval.time
    assert "Shallow loss 0.3010 is 1.667 % worse than the best published, 0.3000" in text
    assert "| shallow | 0.3010 | 0.3000 | run-1 |" in text
    assert datetime.fromisoformat(str(labels[DECIDE_UNTIL])) == approval.until


def test_silence_until_the_end_is_told_from_a_refusal(
    waiting: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {"publish": False}
    assert asked(waiting, refused, monkeypatch)[0].answer == "refuse"
    approval = waiting.manifest.verdict.approval
    assert approval
    over = approval.model_copy(update={"until": datetime.now(UTC) - timedelta(seconds=1)})
    verdict = waiting.manifest.verdict.model_copy(update={"approval": over})
    late = waiting.manifest.model_copy(update={"verdict": verdict})
    outcome = waiting.model_copy(update={"manifest": late})
    assert asked(outcome, refused, monkeypatch)[0].answer == "time-out"
    assert asked(outcome, {**refused, "name": "Ada"}, monkeypatch)[0].answer == "refuse"
