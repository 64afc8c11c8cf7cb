"""The quality gate: checks that a run must pass to be published, and drift, which only warns."""

import logging
from datetime import UTC, datetime

import numpy as np

from tasks.evaluation.records import DataSummary
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.checks import Candidate, check_model
from tasks.runs.manifest import (
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


def judge(
    record: RunRecord,
    rivals: Rivals,
    gate: GateParameters,
    run: RunParameters,
    unreadable: str | None = None,
    previous: Manifest | None = None,
) -> Verdict:
    """Decide whether a run is published.

    Args:
        rivals: published losses to compare with.
        previous: the published run.
        unreadable: why the manifest of the published run cannot be read, if it cannot.
    """
    if unreadable:
        unreadable = (
            f"The published run cannot be read, so the losses cannot be compared: {unreadable}"
        )
        rivals = rivals._replace(reasons=dict.fromkeys(rivals.reasons, unreadable))
    checks = [
        check
        for model in record.models
        for check in check_model(_candidate(model, record, rivals, gate))
    ]
    if unreadable:
        checks.append(Check(name="published run is readable", passed=False, text=unreadable))
    checks += _check_age(record, previous)
    failed = [check.text for check in checks if not check.passed]
    outcome: VerdictOutcome = "refused" if failed and not run.publish_anyway else "published"
    if run.quick:
        outcome = "quick look"
    not_compared = dict.fromkeys(rivals.reasons.values())  # several models may have one reason
    not_compared.pop(unreadable or "", None)  # it is among the failed checks
    reason = _explain(outcome, failed, len(checks), list(not_compared))
    return Verdict(outcome=outcome, reason=reason, checks=tuple(checks), rivals=rivals.best)


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


def _explain(
    outcome: VerdictOutcome, failed: list[str], checks: int, not_compared: list[str]
) -> str:
    """The reason for an outcome, in sentences."""
    if outcome == "quick look":
        return "Quick look: not published."
    reason = f"All {checks} checks passed"
    if failed:
        intro = "Published although " if outcome == "published" else ""
        reason = f"{intro}{len(failed)} of {checks} checks failed: {'; '.join(failed)}"
    return " ".join(f"{sentence}." for sentence in (reason, *not_compared))


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
