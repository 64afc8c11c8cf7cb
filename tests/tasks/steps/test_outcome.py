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
from tasks.runs.manifest import Manifest, Outcome
from tasks.steps.outcome import conclude, run_name
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
