"""Runs that wait for a person."""

from datetime import UTC, datetime
from pathlib import Path

from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.reports.report import render_files
from tasks.runs.gate import Person
from tasks.runs.manifest import Approval, Manifest
from tasks.runs.publication import settle
from tests.conftest import METRICS, complete

SLIGHTLY_WORSE = METRICS.model_copy(update={"validation_loss": 0.301})
"""By 1.7 % of the rival's excess of 0.06."""


def complete_waiting(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Manifest:
    """Publish `run-1`, then complete `run-2`, which is worse.

    It waits where the setting AUTOENCODER_APPROVAL_TOLERANCE is less than 0.01.
    """
    complete("run-1", model, dataset, root)
    person = Person(can_be_asked=True)
    return complete("run-2", model, dataset, root, SLIGHTLY_WORSE, person=person)


def answer(waiting: Manifest, decision: str, name: str = "") -> Approval:
    """What a person decided about a run that waits."""
    approval = waiting.verdict.approval
    assert approval
    given = {"answer": decision, "name": name, "time": datetime.now(UTC)}
    return Approval.model_validate({**dict(approval), **given})


def settle_with(waiting: Manifest, approval: Approval, root: Path) -> Manifest:
    """Settle a run that waits."""
    return settle(waiting, approval, root, render_files)
