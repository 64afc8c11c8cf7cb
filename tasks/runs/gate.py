"""The quality gate: whether a run may take the place of the one that is published."""

import math

import numpy as np

from tasks.core.records import DatasetRecord, DataSummary, Metrics
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.manifest import BestLoss, Check, Drift, Manifest, Verdict

EXACT_MSE = 1e-8
"""Below it, PCA restores images exactly, but for rounding: no model can be held to that."""
SPREAD_STEP = 1e-5
"""To which the spreads of a summary are rounded: those of faint images may be zero."""


def rival_key(model: str, code_size: int) -> str:
    """What a model is compared under: a larger code would be another contest."""
    return f"{model}-{code_size}"


def find_rivals(dataset: DatasetRecord, runs: list[Manifest]) -> dict[str, BestLoss]:
    """The best loss of each model that was ever published on the same test images and scale.

    Every manifest carries the best of its predecessors, so runs that are gone still count.

    Args:
        runs: of this dataset name, that were published.
    """
    rivals: dict[str, BestLoss] = {}
    for run in runs:
        same_images = run.dataset.payloads["test_images"] == dataset.payloads["test_images"]
        if same_images and run.dataset.scale == dataset.scale:
            rivals = better_of(rivals, run.best_losses)
    return rivals


def better_of(left: dict[str, BestLoss], right: dict[str, BestLoss]) -> dict[str, BestLoss]:
    """The smaller loss of each model."""
    best = dict(left)
    for name, loss in right.items():
        if name not in best or loss.validation_loss < best[name].validation_loss:
            best[name] = loss
    return best


def judge(
    metrics: dict[str, Metrics],
    rivals: dict[str, BestLoss],
    gate: GateParameters,
    run: RunParameters,
    unreadable: str | None = None,
) -> Verdict:
    """Decide whether a run is published.

    Args:
        unreadable: why the run that is published cannot be compared with, if it cannot.
    """
    checks = tuple(
        check
        for name, measured in metrics.items()
        for check in _check_model(name, measured, _rival(name, measured, rivals), gate)
    )
    if unreadable:
        text = f"the published run cannot be compared with ({unreadable})"
        checks = (*checks, Check(name="published run: readable", passed=False, text=text))
    failures = "; ".join(check.text for check in checks if not check.passed)
    if run.quick:
        outcome, reason = "quick look", "a quick look is never published"
    elif failures and run.publish_anyway:
        outcome, reason = "published", f"published anyway, although {failures}"
    elif failures:
        outcome, reason = "refused", failures
    else:
        outcome, reason = "published", "all checks passed"
    alone = [name for name, found in metrics.items() if not _rival(name, found, rivals)]
    if alone and not run.quick:
        reason += f"; no rival on these test images yet: {', '.join(alone)}"
    return Verdict(outcome=outcome, reason=reason, checks=checks, rivals=rivals)


def _rival(name: str, metrics: Metrics, rivals: dict[str, BestLoss]) -> BestLoss | None:
    return rivals.get(rival_key(name, metrics.code_size))


def _check_model(
    name: str, metrics: Metrics, rival: BestLoss | None, gate: GateParameters
) -> list[Check]:
    loss, mse = metrics.validation_loss, metrics.reconstruction_mse
    least_live = math.ceil(gate.live_share * metrics.code_size)
    checks = [
        Check(
            name=f"{name}: finite",
            passed=math.isfinite(loss) and math.isfinite(mse),
            text=f"the {name} model has a loss of {loss:.5f} and a mean squared error of {mse:.5f}",
        ),
        Check(
            name=f"{name}: live units",
            passed=metrics.live_units >= least_live,
            found=metrics.live_units,
            limit=least_live,
            text=f"the {name} model has {metrics.live_units} live code units of "
            f"{metrics.code_size}, expected at least {least_live}",
        ),
    ]
    return [*checks, _check_pca(name, metrics, gate), _check_rival(name, metrics, rival, gate)]


def _check_pca(name: str, metrics: Metrics, gate: GateParameters) -> Check:
    title, pca = f"{name}: error relative to PCA", f"PCA-{metrics.code_size}"
    if metrics.pca_mse < EXACT_MSE:
        text = f"{pca} restores these images exactly, which the {name} model need not"
        return Check(name=title, passed=True, text=text)
    return _at_most(
        title,
        metrics.reconstruction_mse,
        gate.pca_ratio * metrics.pca_mse,
        f"the {name} model has a mean squared error of {metrics.reconstruction_mse:.5f}, {pca} "
        f"one of {metrics.pca_mse:.5f}",
    )


def _check_rival(
    name: str, metrics: Metrics, rival: BestLoss | None, gate: GateParameters
) -> Check:
    title = f"{name}: loss relative to its rival"
    if rival is None:
        text = (
            f"the {name} model has no rival: with {metrics.code_size} units it was never published "
            "on these test images"
        )
        return Check(name=title, passed=True, text=text)
    floor, loss = metrics.entropy_floor, metrics.validation_loss
    return _at_most(
        title,
        loss,
        floor + (rival.validation_loss - floor) * (1 + gate.tolerance),
        f"the {name} model has a loss of {loss:.5f}, its rival (run {rival.run}) one of "
        f"{rival.validation_loss:.5f}",
    )


def _at_most(name: str, found: float, limit: float, text: str) -> Check:
    return Check(
        name=name,
        passed=found <= limit,
        found=found if math.isfinite(found) else None,
        limit=limit,
        text=f"{text}, expected at most {limit:.5f}",
    )


def measure_drift(before: Manifest | None, after: DataSummary) -> Drift | None:
    """How far the training images moved since the published run's; none if there is none."""
    if before is None:
        return None
    old_means, new_means = np.array(before.baselines.pixels.summary.means), np.array(after.means)
    old_spreads, new_spreads = (
        np.array(before.baselines.pixels.summary.spreads),
        np.array(after.spreads),
    )
    if old_means.shape != new_means.shape:
        return Drift(rival=before.run, mean_shift=None, spread_ratio=None)
    spread = max(old_spreads.mean(), SPREAD_STEP)
    shift = np.sqrt(((new_means - old_means) ** 2).mean()) / spread
    return Drift(
        rival=before.run,
        mean_shift=round(float(shift), 5),
        spread_ratio=round(float(new_spreads.mean() / spread), 5),
    )
