"""A manifest of a run that is not on the disk."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.core.records import Versions
from tasks.evaluation.records import Metrics
from tasks.parameters.retrain import Parameters
from tasks.runs.manifest import Check, Manifest, Verdict
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, example_model

FINISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def example_manifest(metrics: Metrics = METRICS, **changes: Any) -> Manifest:
    """A published run of a shallow model."""
    check = Check(name="shallow: live units", passed=True, text="32 live units of 32")
    manifest = Manifest(
        run="run-1",
        started=FINISHED - timedelta(minutes=2),
        finished=FINISHED,
        parameters=Parameters().model_dump(mode="json"),
        dataset=EXAMPLE_DATASET,
        baselines=BASELINES,
        models=(example_model(),),
        metrics={"shallow": metrics},
        drift=None,
        verdict=Verdict(outcome="published", reason="all checks passed", checks=(check,)),
        best_losses={},
        versions=Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0"),
        files=(),
    )
    return manifest.model_copy(update=changes)
