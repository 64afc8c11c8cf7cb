import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.records import DataSummary, Metrics, Versions
from tasks.parameters.retrain import GateParameters, Parameters, RunParameters
from tasks.runs.gate import better_of, find_rivals, judge, measure_drift
from tasks.runs.manifest import BestLoss, Manifest, Verdict
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, SUMMARY

RIVALS = {"deep-32": BestLoss(validation_loss=0.28, run="before")}
VERSIONS = Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0")


def verdict(
    changes: dict[str, Any],
    rivals: dict[str, BestLoss] = RIVALS,
    gate: GateParameters = GateParameters(),
    run: RunParameters = RunParameters(),
) -> Verdict:
    good = {"validation_loss": 0.28, **changes}
    return judge({"deep": METRICS.model_copy(update=good)}, rivals, gate, run)


def manifest(run: str, loss: float, outcome: str = "published", test: str = "t" * 64) -> Manifest:
    return Manifest(
        run=run,
        started=datetime.now(UTC),
        finished=datetime.now(UTC),
        parameters=Parameters(),
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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"live_units": 23}, "23 live code units of 32, expected at least 24"),
        ({"reconstruction_mse": 0.0151}, "PCA-32 one of 0.01500, expected at most 0.01500"),
        ({"reconstruction_mse": float("nan")}, "mean squared error of nan"),
        ({"validation_loss": 0.2821}, "its rival .run before. one of 0.28000, expected at most"),
        ({"validation_loss": float("inf")}, "a loss of inf"),
    ],
)
def test_what_is_not_good_enough_is_refused_with_the_figures(
    changes: dict[str, Any], reason: str
) -> None:
    refused = verdict(changes)
    assert refused.outcome == "refused"
    assert not refused.published
    assert re.search(reason, refused.reason)
    assert Verdict.model_validate_json(refused.model_dump_json()) == refused


def test_a_little_worse_is_within_the_tolerance() -> None:
    """5 % of 0.04 above the floor of 0.24."""
    assert verdict({"validation_loss": 0.2819}).published


def test_the_limits_are_parameters() -> None:
    gate = GateParameters(tolerance=1, live_share=0.5, pca_ratio=2)
    assert verdict(
        {"validation_loss": 0.31, "live_units": 16, "reconstruction_mse": 0.02}, gate=gate
    ).published


def test_publish_anyway_says_what_it_overrode() -> None:
    found = verdict({"live_units": 3}, run=RunParameters(publish_anyway=True))
    assert found.published
    assert "although the deep model has 3 live code units" in found.reason


def test_a_quick_look_is_never_published() -> None:
    assert verdict({}, run=RunParameters(quick=True, publish_anyway=True)).outcome == "quick look"


def test_another_size_of_code_is_another_contest() -> None:
    larger = {"deep-64": BestLoss(validation_loss=0.26, run="larger")}
    assert verdict({}, rivals=larger).published


def test_without_a_rival_it_says_so() -> None:
    assert verdict({}, rivals={}).reason.endswith("no rival on these test images yet: deep")
    assert "no rival" not in verdict({}).reason


def test_each_model_without_a_rival_has_its_line() -> None:
    metrics = {
        name: METRICS.model_copy(update={"validation_loss": 0.28}) for name in ("deep", "wide")
    }
    found = judge(metrics, RIVALS, GateParameters(), RunParameters())
    assert found.published
    assert found.reason == "all checks passed; no rival on these test images yet: wide"
    rows = {check.name: check for check in found.checks}
    assert rows["deep: loss relative to its rival"].limit is not None
    assert rows["wide: loss relative to its rival"].limit is None
    assert "has no rival" in rows["wide: loss relative to its rival"].text


def test_a_refusal_says_it_too() -> None:
    reason = verdict({"live_units": 3}, rivals={}).reason
    assert re.search("3 live code units.*no rival on these test images yet: deep", reason)


def test_the_rival_is_the_best_ever_published_on_the_same_test_images() -> None:
    runs = [
        manifest("good", 0.27),
        manifest("better, on other images", 0.26, test="u" * 64),
        manifest("later", 0.275),
    ]
    assert find_rivals(EXAMPLE_DATASET, runs)["deep-32"].run == "good"
    assert find_rivals(EXAMPLE_DATASET, runs[1:2]) == {}


def test_quality_cannot_slip_a_little_each_week() -> None:
    """Ten runs, each 4 % worse than the last: the second is still near enough to the first."""
    best: dict[str, BestLoss] = {}
    outcomes = []
    for week in range(10):
        loss = 0.24 + 0.04 * 1.04**week
        found = verdict({"validation_loss": loss}, rivals=best)
        outcomes.append(found.outcome)
        if found.published:
            own = {"deep-32": BestLoss(validation_loss=loss, run=str(week))}
            best = better_of(best, own)
    assert outcomes == ["published"] * 2 + ["refused"] * 8


def test_drift_is_measured_in_standard_deviations() -> None:
    before = manifest("before", 0.3)
    same = measure_drift(before, SUMMARY)
    assert same is not None
    assert (same.mean_shift, same.spread_ratio) == (0.0, 1.0)
    assert not same.exceeds(0.1)
    moved = DataSummary(means=((0.26, 0.46),), spreads=((0.36, 0.36),))
    drift = measure_drift(before, moved)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.2, 1.2)
    assert drift.exceeds(0.1)
    assert not drift.exceeds(0.25)


def test_images_of_another_shape_have_drifted() -> None:
    other = DataSummary(means=((0.2,),), spreads=((0.3,),))
    drift = measure_drift(manifest("before", 0.3), other)
    assert drift is not None
    assert drift.exceeds(1000)
    assert measure_drift(None, other) is None


def test_metrics_are_those_of_the_run() -> None:
    checks = verdict({}).checks
    assert [check.name for check in checks] == [
        "deep: finite",
        "deep: live units",
        "deep: error relative to PCA",
        "deep: loss relative to its rival",
    ]
    assert checks[1].found == Metrics.model_validate(METRICS).live_units


def test_a_loss_on_another_scale_is_no_rival() -> None:
    run = manifest("bright", 0.08)
    bright = run.model_copy(update={"dataset": run.dataset.model_copy(update={"scale": 65535.0})})
    assert find_rivals(run.dataset, [run])
    assert find_rivals(run.dataset, [bright]) == {}


def test_no_model_is_held_to_a_pca_that_is_exact() -> None:
    found = verdict({"pca_mse": 1e-15, "reconstruction_mse": 1e-4})
    assert found.published
    assert "PCA-32 restores these images exactly" in " ".join(check.text for check in found.checks)


def test_the_drift_of_faint_images_is_a_number() -> None:
    flat = SUMMARY.model_copy(
        update={"spreads": tuple(tuple(0.0 for _ in row) for row in SUMMARY.spreads)}
    )
    before = manifest("before", 0.28)
    pixels = before.baselines.pixels.model_copy(update={"summary": flat})
    baselines = before.baselines.model_copy(update={"pixels": pixels})
    drift = measure_drift(before.model_copy(update={"baselines": baselines}), flat)
    assert drift is not None
    assert (drift.mean_shift, drift.spread_ratio) == (0.0, 0.0)
