"""Drift: how far the training images moved since the published run. Reported, never refused."""

import logging

import numpy as np

from tasks.evaluation.records import DataSummary
from tasks.runs.manifest import Drift, Manifest, short_name

logger = logging.getLogger(__name__)

SPREAD_STEP = 1e-5
"""Summaries round spreads to this step; those of faint images may be zero."""


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
