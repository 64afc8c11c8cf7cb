"""The quality gate: checks that a run must pass to be published, and drift, which only warns."""

import logging
import math
from collections.abc import Iterable

import numpy as np

from tasks.core.records import DatasetRecord
from tasks.evaluation.records import DataSummary, Metrics
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.kept_basis import check_kept_basis
from tasks.runs.manifest import (
    BestLoss,
    Check,
    Drift,
    Manifest,
    Verdict,
    VerdictOutcome,
    short_name,
)

logger = logging.getLogger(__name__)

EXACT_MSE = 1e-8
"""A PCA with a smaller error is exact up to rounding; no model is compared with it."""
SPREAD_STEP = 1e-5
"""Summaries round spreads to this step; those of faint images may be zero."""
FIRST_RUN = "First published run on these test images: nothing to compare with yet"
NO_RUN = "No run is published on these test images yet"


def loss_key(model: str, code_size: int) -> str:
    """The key of a best loss; losses are compared only between models with the same code size."""
    return f"{model}-{code_size}"


def find_best_losses(dataset: DatasetRecord, runs: list[Manifest]) -> dict[str, BestLoss]:
    """The best loss of each model and code size on the same test images and scale.

    Args:
        runs: ever published; their manifests carry the best losses of earlier runs, so deleted ones
            still count.
    """
    return merge_best(
        run.best_losses
        for run in runs
        if run.dataset.payloads["test_images"] == dataset.payloads["test_images"]
        and run.dataset.scale == dataset.scale
    )


def merge_best(candidates: Iterable[dict[str, BestLoss]]) -> dict[str, BestLoss]:
    """The smallest loss of each key."""
    best: dict[str, BestLoss] = {}
    for losses in candidates:
        for key, loss in losses.items():
            if key not in best or loss.validation_loss < best[key].validation_loss:
                best[key] = loss
    return best


def list_losses(run: str, metrics: dict[str, Metrics]) -> dict[str, BestLoss]:
    """The losses of a run, by `loss_key`."""
    return {
        loss_key(name, found.code_size): BestLoss(validation_loss=found.validation_loss, run=run)
        for name, found in metrics.items()
    }


def judge(
    metrics: dict[str, Metrics],
    best: dict[str, BestLoss],
    gate: GateParameters,
    run: RunParameters,
    unreadable: str | None = None,
) -> Verdict:
    """Decide whether a run is published.

    Args:
        best: published losses to compare with, by `loss_key`.
        unreadable: why the manifest of the published run cannot be read, if it cannot.
    """
    checks: list[Check] = []
    new: list[str] = []
    for name, found in metrics.items():
        rival = best.get(loss_key(name, found.code_size))
        checks += _check_model(name, found, rival, gate)
        if rival is None:
            new.append(_describe_new(name, found))
    if unreadable:
        text = f"The published run cannot be read, so the losses cannot be compared: {unreadable}"
        checks.append(Check(name="published run is readable", passed=False, text=text))
    failed = [check.text for check in checks if not check.passed]
    outcome: VerdictOutcome = "refused" if failed and not run.publish_anyway else "published"
    if run.quick:
        outcome = "quick look"
    if not best and not unreadable:
        new = [FIRST_RUN if outcome == "published" else NO_RUN]
    reason = _explain(outcome, failed, len(checks), new)
    return Verdict(outcome=outcome, reason=reason, checks=tuple(checks), rivals=best)


def _explain(outcome: VerdictOutcome, failed: list[str], checks: int, new: list[str]) -> str:
    """The reason for an outcome, in sentences."""
    if outcome == "quick look":
        return "Quick look: not published."
    reason = f"All {checks} checks passed"
    if failed:
        intro = "Published although " if outcome == "published" else ""
        reason = f"{intro}{len(failed)} of {checks} checks failed: {'; '.join(failed)}"
    return " ".join(f"{sentence}." for sentence in (reason, *new))


def _describe_new(name: str, metrics: Metrics) -> str:
    return (
        f"First {name} model with {metrics.code_size} units on these test images: nothing to beat"
    )


def _check_model(
    name: str, metrics: Metrics, best: BestLoss | None, gate: GateParameters
) -> list[Check]:
    loss, mse = metrics.validation_loss, metrics.reconstruction_mse
    # Rounded first, because 0.55 * 20 is 11.000000000000002.
    least_live = math.ceil(round(gate.live_share * metrics.code_size, 9))
    finite = Check(
        name=f"{name}: loss and error are finite numbers",
        passed=math.isfinite(loss) and math.isfinite(mse),
        text=f"{name.capitalize()} loss is {loss:.4f}, mean squared error {mse:.5f}; both must be "
        "finite",
    )
    live = Check(
        name=f"{name}: live code units",
        passed=metrics.live_units >= least_live,
        found=metrics.live_units,
        limit=least_live,
        text=f"{metrics.live_units} of {metrics.code_size} {name} code units are live, at least "
        f"{least_live} required",
    )
    return [
        finite,
        live,
        _check_error(name, metrics, gate),
        _check_loss(name, metrics, best, gate),
        *check_kept_basis(name, metrics.kept_basis, gate.own_nearest),
    ]


def _check_error(name: str, metrics: Metrics, gate: GateParameters) -> Check:
    title, pca = f"{name}: error compared with PCA", f"PCA-{metrics.code_size}"
    if metrics.pca_mse < EXACT_MSE:
        text = f"{pca} reconstructs these images exactly: {name} error not compared"
        return Check(name=title, passed=True, text=text)
    return _at_most(
        gate.pca_ratio * metrics.pca_mse,
        metrics.reconstruction_mse,
        title,
        f"{name.capitalize()} mean squared error",
        f"{pca}: {metrics.pca_mse:#.4g}, ratio {gate.pca_ratio:g}",
    )


def _check_loss(name: str, metrics: Metrics, best: BestLoss | None, gate: GateParameters) -> Check:
    title = f"{name}: loss compared with the best published"
    if best is None:
        return Check(name=title, passed=True, text=_describe_new(name, metrics))
    floor = metrics.entropy_floor
    return _at_most(
        floor + (best.validation_loss - floor) * (1 + gate.tolerance),
        metrics.validation_loss,
        title,
        f"{name.capitalize()} loss",
        f"best published: {best.validation_loss:#.4g} in run {short_name(best.run)}, tolerance "
        f"{100 * gate.tolerance:g} %",
    )


def _at_most(limit: float, found: float, name: str, what: str, basis: str) -> Check:
    """Check an upper limit; an infinite number is left out, as JSON has none."""
    passed = found <= limit
    relation = "within" if passed else "worse than"
    return Check(
        name=name,
        passed=passed,
        found=found if math.isfinite(found) else None,
        limit=limit,
        text=f"{what} {found:#.4g} is {relation} {limit:#.4g}, the limit ({basis})",
    )


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
