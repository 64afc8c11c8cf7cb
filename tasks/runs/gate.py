"""The quality gate: checks that a run must pass to be published, and drift, which only warns."""

import json
import logging
import math
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from tasks.core.records import Sha256
from tasks.core.settings import read_settings
from tasks.evaluation.records import DataSummary
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.checks import Candidate, check_model, find_doubt
from tasks.runs.manifest import (
    Approval,
    Check,
    Drift,
    Manifest,
    RunRecord,
    Verdict,
    VerdictOutcome,
    short_name,
)
from tasks.runs.rivals import Rivals, loss_key

logger = logging.getLogger(__name__)

SPREAD_STEP = 1e-5
"""Summaries round spreads to this step; those of faint images may be zero."""


class Person(NamedTuple):
    """Who decides on a run that passes the gate, but may not be published unasked."""

    can_be_asked: bool
    """Only a run of a deployment can wait; any other one is refused."""
    answer: Approval | None = None
    """Perhaps to an earlier question."""


NOBODY = Person(can_be_asked=False)


class Review(NamedTuple):
    """How that person is asked."""

    tolerance: float
    """By which fraction a loss above the floor may be worse than its rival's without a person."""
    question: Sha256
    """Of all that the person decides on."""
    until: datetime
    """How long an answer is waited for."""
    person: Person


def judge(
    record: RunRecord,
    rivals: Rivals,
    gate: GateParameters,
    run: RunParameters,
    unreadable: str | None = None,
    previous: Manifest | None = None,
    review: Review | None = None,
) -> Verdict:
    """Decide whether a run is published.

    Args:
        rivals: published losses to compare with.
        previous: the published run.
        unreadable: why the manifest of the published run cannot be read, if it cannot.
        review: how a person is asked; None if nobody is.
    """
    if unreadable:
        unreadable = (
            f"The published run cannot be read, so the losses cannot be compared: {unreadable}"
        )
        rivals = rivals._replace(reasons=dict.fromkeys(rivals.reasons, unreadable))
    candidates = [_candidate(model, record, rivals, gate) for model in record.models]
    checks = [check for candidate in candidates for check in check_model(candidate)]
    if unreadable:
        checks.append(Check(name="published run is readable", passed=False, text=unreadable))
    checks += _check_age(record, previous)
    failed = [check.text for check in checks if not check.passed]
    outcome, approval = _decide(run, bool(failed)), None
    if review and outcome == "published" and not run.publish_anyway:
        outcome, approval = _ask(candidates, review)
    not_compared = dict.fromkeys(rivals.reasons.values())  # several models may have one reason
    not_compared.pop(unreadable or "", None)  # it is among the failed checks
    more = [*not_compared, *_describe_approval(approval, outcome)]
    return Verdict(
        outcome=outcome,
        reason=_explain(outcome, failed, len(checks), more),
        checks=tuple(checks),
        rivals=rivals.best,
        approval=approval,
    )


def _decide(run: RunParameters, any_failed: bool) -> VerdictOutcome:
    """What becomes of a run about which nobody is asked."""
    if run.quick:
        return "quick look"
    return "refused" if any_failed and not run.publish_anyway else "published"


def plan_review(
    record: RunRecord, rivals: Rivals, last_run: str | None, person: Person
) -> Review | None:
    """How a person is asked; None where the deployment does not ask for it.

    Args:
        last_run: the run that was published last.
    """
    settings = read_settings()
    tolerance = settings.approval_tolerance
    if tolerance is None and person.answer is None:
        return None
    weights = [model.weights_sha256 for model in record.models]
    best = {key: rival.model_dump() for key, rival in rivals.best.items()}
    subject = json.dumps([weights, best, last_run], sort_keys=True)
    return Review(
        tolerance=math.inf if tolerance is None else tolerance,
        question=sha256(subject.encode()).hexdigest(),
        until=datetime.now(UTC) + settings.approval_time,
        person=person,
    )


def _ask(candidates: list[Candidate], review: Review) -> tuple[VerdictOutcome, Approval | None]:
    """The outcome of a run that passes all checks, and what a person is or was asked about it."""
    answer = review.person.answer
    if answer and answer.answer != "publish":
        return "refused", answer
    doubts = list(filter(None, (find_doubt(found, review.tolerance) for found in candidates)))
    if not doubts or (answer and answer.question == review.question):
        return "published", answer
    approval = Approval(question=review.question, reason="; ".join(doubts), until=review.until)
    return "waiting" if review.person.can_be_asked else "refused", approval


def _describe_approval(approval: Approval | None, outcome: VerdictOutcome) -> list[str]:
    """Why a person was asked, and who said what, in sentences without their stops."""
    if approval is None:
        return []
    until, name = f"{approval.until:%Y-%m-%d %H:%M} UTC", approval.name or "A person"
    note = f": {approval.note.removesuffix('.')}" if approval.note else ""
    waits = f"It waits until {until} for a person to decide"
    said = {
        None: waits if outcome == "waiting" else "Only runs of a deployment can wait for a person",
        "publish": f"{name} approved it{note}",
        "refuse": f"{name} refused it{note}",
        "time-out": f"Nobody approved it until {until}",
    }
    return [approval.reason, said[approval.answer]]


def _check_age(record: RunRecord, previous: Manifest | None) -> list[Check]:
    """A failed check if a run that started later has published other images meanwhile.

    A run that finished in the future says nothing: the clock was set back since.
    """
    if (
        previous is None
        or not record.started < previous.started < previous.finished < datetime.now(UTC)
        or previous.dataset.payload_sha256 == record.dataset.payload_sha256
    ):
        return []
    text = (
        f"Run {short_name(previous.run)}, which started later, has published other images "
        "meanwhile: start this run again to learn from those that the source has now"
    )
    return [Check(name="images are the latest", passed=False, text=text)]


def _candidate(
    model: ModelRecord, record: RunRecord, rivals: Rivals, gate: GateParameters
) -> Candidate:
    metrics = record.metrics[model.name]
    return Candidate(
        model=model,
        metrics=metrics,
        dataset=record.dataset,
        pca_probes=record.baselines.pca_of(metrics.code_size).probes,
        rival=rivals.best.get(loss_key(model)),
        no_rival=rivals.reasons.get(model.name, ""),
        gate=gate,
    )


def _explain(outcome: VerdictOutcome, failed: list[str], checks: int, more: list[str]) -> str:
    """The reason for an outcome, in sentences; those in `more` lack their stops."""
    if outcome == "quick look":
        return "Quick look: not published."
    reason = f"All {checks} checks passed"
    if failed:
        intro = "Published although " if outcome == "published" else ""
        reason = f"{intro}{len(failed)} of {checks} checks failed: {'; '.join(failed)}"
    return " ".join(f"{sentence}." for sentence in (reason, *more))


def measure_drift(before: Manifest | None, after: DataSummary) -> Drift | None:
    """Compare a summary of training images with that of a run; none without a run."""
    if before is None:
        return None
    summary = before.baselines.pixels.summary
    old_means, new_means = np.array(summary.means), np.array(after.means)
    if old_means.shape != new_means.shape:
        return Drift(rival=before.run, mean_shift=None, spread_ratio=None)
    spread = max(float(np.mean(summary.spreads)), SPREAD_STEP)
    shift = np.sqrt(((new_means - old_means) ** 2).mean()) / spread
    return Drift(
        rival=before.run,
        mean_shift=round(float(shift), 5),
        spread_ratio=round(float(np.mean(after.spreads) / spread), 5),
    )


def warn_of_drift(drift: Drift | None, limit: float) -> None:
    """Log a warning if the drift exceeds `limit` standard deviations."""
    if drift is None or not drift.exceeds(limit):
        return
    run = short_name(drift.rival)
    if drift.mean_shift is None:
        logger.warning("The training images have another shape than those of run %s", run)
    else:
        logger.warning(
            "The training images drifted since run %s: mean by %.3f standard deviations, "
            "spread by a factor of %.3f",
            run,
            drift.mean_shift,
            drift.spread_ratio,
        )
