import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.records import Versions
from tasks.evaluation.records import DataSummary
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.gate import find_best_losses, judge, measure_drift, merge_best, warn_of_drift
from tasks.runs.manifest import BestLoss, Drift, Manifest, Verdict
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, SUMMARY

BEST = {"deep-32": BestLoss(validation_loss=0.28, run="2b6e6b7a-f6b5-4d4c-8c07-34f3a0a0ad24")}
VERSIONS = Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0")


def verdict(
    changes: dict[str, Any],
    best: dict[str, BestLoss] = BEST,
    gate: GateParameters = GateParameters(),
    run: RunParameters = RunParameters(),
) -> Verdict:
    good = {"validation_loss": 0.28, **changes}
    return judge({"deep": METRICS.model_copy(update=good)}, best, gate, run)


def manifest(run: str, loss: float, outcome: str = "published", test: str = "t" * 64) -> Manifest:
    return Manifest(
        run=run,
        started=datetime.now(UTC),
        finished=datetime.now(UTC),
        parameters={},
        dataset=EXAMPLE_DATASET.model_copy(update={"payloads": {"test_images": test}}),
        baselines=BASELINES,
        drift=None,
        models=(),
        metrics={},
        verdict=Verdict.model_validate({"outcome": outcome, "reason": ""}),
        best_losses={"deep-32": BestLoss(validation_loss=loss, run=run)},
        versions=VERSIONS,
        files=(),
    )


BEFORE = manifest("before", 0.27)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"live_units": 23}, "23 of 32 deep code units are live, at least 24 required."),
        (
            {"reconstruction_mse": 0.0151},
            "Deep mean squared error 0.01510 is worse than 0.01500, the limit (PCA-32: 0.01500",
        ),
        ({"reconstruction_mse": float("nan")}, "mean squared error nan; both must be finite; Deep"),
        (
            {"validation_loss": 0.2821},
            "the limit (best published: 0.2800 in run 2b6e6b7a, tolerance 5 %).",
        ),
        ({"validation_loss": 0.2821}, "Deep loss 0.2821 is worse than 0.2820, the limit"),
        ({"validation_loss": float("inf")}, "Deep loss is inf, mean squared error 0.01200"),
    ],
)
def test_what_is_not_good_enough_is_refused_with_the_figures(
    changes: dict[str, Any], reason: str
) -> None:
    refused = verdict(changes)
    assert refused.outcome == "refused"
    assert not refused.published
    assert reason in refused.reason
    assert re.match("[12] of 4 checks failed: ", refused.reason)
    assert Verdict.model_validate_json(refused.model_dump_json()) == refused


def test_a_little_worse_is_within_the_tolerance() -> None:
    """5 % of 0.04 above the floor of 0.24."""
    assert verdict({"validation_loss": 0.2819}).published


def test_the_limits_are_parameters() -> None:
    gate = GateParameters(tolerance=1, live_share=0.5, pca_ratio=2)
    assert verdict(
        {"validation_loss": 0.31, "live_units": 16, "reconstruction_mse": 0.02}, gate=gate
    ).published


def test_the_share_of_live_units_is_a_minimum() -> None:
    gate = GateParameters(live_share=0.55)
    assert verdict({"code_size": 20, "live_units": 11}, gate=gate).published
    assert not verdict({"code_size": 20, "live_units": 10}, gate=gate).published


def test_publish_anyway_says_what_it_overrode() -> None:
    found = verdict({"live_units": 3}, run=RunParameters(publish_anyway=True))
    assert found.published
    assert found.reason.startswith("Published although 1 of 4 checks failed: 3 of 32 deep code")


def test_a_quick_look_is_never_published() -> None:
    found = verdict({}, run=RunParameters(quick=True, publish_anyway=True))
    assert (found.outcome, found.reason) == ("quick look", "Quick look: not published.")


def test_losses_of_other_code_sizes_are_not_compared() -> None:
    larger = {"deep-64": BestLoss(validation_loss=0.26, run="larger")}
    assert verdict({}, best=larger).published


def test_the_first_run_has_nothing_to_compare_with() -> None:
    assert verdict({}, best={}).reason == (
        "All 4 checks passed. First published run on these test images: nothing to compare with "
        "yet."
    )
    assert verdict({}).reason == "All 4 checks passed."


def test_each_model_that_was_never_published_is_named() -> None:
    metrics = {
        name: METRICS.model_copy(update={"validation_loss": 0.28}) for name in ("deep", "wide")
    }
    found = judge(metrics, BEST, GateParameters(), RunParameters())
    assert found.published
    new = "First wide model with 32 units on these test images: nothing to beat"
    assert found.reason == f"All 8 checks passed. {new}."
    rows = {check.name: check for check in found.checks}
    assert rows["deep: loss compared with the best published"].limit is not None
    assert rows["wide: loss compared with the best published"].limit is None
    assert rows["wide: loss compared with the best published"].text == new


def test_a_refusal_says_so_too() -> None:
    reason = verdict({"live_units": 3}, best={}).reason
    assert re.search("3 of 32 deep code units.*. No run is published on these test images", reason)
    other = {"shallow-32": BEST["deep-32"]}
    reason = verdict({"live_units": 3}, best=other).reason
    assert re.search("3 of 32 deep code units.*. First deep model with 32 units", reason)


def test_losses_are_compared_with_the_best_ever_published_on_the_same_test_images() -> None:
    runs = [
        manifest("good", 0.27),
        manifest("better, on other images", 0.26, test="u" * 64),
        manifest("later", 0.275),
    ]
    assert find_best_losses(EXAMPLE_DATASET, runs)["deep-32"].run == "good"
    assert find_best_losses(EXAMPLE_DATASET, runs[1:2]) == {}


def test_quality_cannot_slip_a_little_each_week() -> None:
    """Ten runs, each 4 % worse than the last: the second is still near enough to the first."""
    best: dict[str, BestLoss] = {}
    outcomes = []
    for week in range(10):
        loss = 0.24 + 0.04 * 1.04**week
        found = verdict({"validation_loss": loss}, best=best)
        outcomes.append(found.outcome)
        if found.published:
            own = {"deep-32": BestLoss(validation_loss=loss, run=str(week))}
            best = merge_best((best, own))
    assert outcomes == ["published"] * 2 + ["refused"] * 8


def test_every_model_has_four_checks() -> None:
    checks = verdict({"live_units": 31}).checks
    assert [check.name for check in checks] == [
        "deep: loss and error are finite numbers",
        "deep: live code units",
        "deep: error compared with PCA",
        "deep: loss compared with the best published",
    ]
    assert [(check.found, check.limit) for check in checks[:3]] == [
        (None, None),
        (31, 24),
        (0.012, 0.015),
    ]
    assert checks[3].found == 0.28
    assert checks[3].limit == pytest.approx(0.282, rel=1e-12)


def test_losses_on_another_scale_are_not_compared() -> None:
    run = manifest("bright", 0.08)
    bright = run.model_copy(update={"dataset": run.dataset.model_copy(update={"scale": 65535.0})})
    assert find_best_losses(run.dataset, [run])
    assert find_best_losses(run.dataset, [bright]) == {}


def test_no_model_is_held_to_a_pca_that_is_exact() -> None:
    found = verdict({"pca_mse": 1e-15, "reconstruction_mse": 1e-4})
    assert found.published
    assert "PCA-32 reconstructs these images exactly" in found.checks[2].text


def test_drift_is_measured_in_standard_deviations() -> None:
    same = measure_drift(BEFORE, SUMMARY)
    assert same is not None
    assert (same.mean_shift, same.spread_ratio) == (0.0, 1.0)
    assert not same.exceeds(0.1)
    moved = DataSummary(means=((0.26, 0.46),), spreads=((0.36, 0.36),))
    drift = measure_drift(BEFORE, moved)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.2, 1.2)
    assert drift.exceeds(0.1)
    assert not drift.exceeds(0.25)


def test_images_of_another_shape_have_drifted() -> None:
    other = DataSummary(means=((0.2,),), spreads=((0.3,),))
    drift = measure_drift(BEFORE, other)
    assert drift is not None
    assert drift.exceeds(1000)
    assert measure_drift(None, other) is None


def test_the_drift_of_faint_images_is_a_number() -> None:
    flat = SUMMARY.model_copy(
        update={"spreads": tuple(tuple(0.0 for _ in row) for row in SUMMARY.spreads)}
    )
    pixels = BEFORE.baselines.pixels.model_copy(update={"summary": flat})
    baselines = BEFORE.baselines.model_copy(update={"pixels": pixels})
    drift = measure_drift(BEFORE.model_copy(update={"baselines": baselines}), flat)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.0, 0.0)


def test_only_drift_above_the_limit_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_drift(None, 0.1)
    warn_of_drift(Drift(rival="before", mean_shift=0.1, spread_ratio=1.0), 0.1)
    assert caplog.text == ""
    warn_of_drift(Drift(rival="before", mean_shift=0.2, spread_ratio=1.0), 0.1)
    assert "drifted since run before: mean by 0.200 standard deviations" in caplog.text
    warn_of_drift(Drift(rival="before", mean_shift=None, spread_ratio=None), 0.1)
    assert "another shape than those of run before" in caplog.text
