import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.records import Versions
from tasks.evaluation.records import DataSummary, Metrics
from tasks.models.spec import choose_recipe
from tasks.models.store import ModelRecord
from tasks.parameters.retrain import GateParameters, RunParameters
from tasks.runs.gate import (
    NOBODY,
    Person,
    Review,
    judge,
    measure_drift,
    plan_review,
    warn_of_drift,
)
from tasks.runs.manifest import Approval, BestLoss, Drift, Manifest, RunRecord, Verdict
from tasks.runs.rivals import NO_RUN, Rivals, find_rivals, loss_key, merge_best
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, SUMMARY, anchor_to, example_model
from tests.tasks.runs.test_manifest import RELEASED

DEEP = example_model("deep")
BEST = {loss_key(DEEP): BestLoss(validation_loss=0.28, run="2b6e6b7a-f6b5-4d4c-8c07-34f3a0a0ad24")}
LARGE = EXAMPLE_DATASET.model_copy(update={"rows": {"train": 60_000, "test": 10_000}})
VERSIONS = Versions(python="3", tensorflow="2", keras="3", hdf5="1", project="0")


def record(
    metrics: Mapping[str, Metrics], rows: int = 10_000, models: tuple[ModelRecord, ...] = ()
) -> RunRecord:
    dataset = LARGE.model_copy(update={"rows": {"train": 60_000, "test": rows}})
    sizes = {found.code_size for found in metrics.values()}
    return RunRecord(
        run="new",
        started=datetime.now(UTC),
        parameters={},
        dataset=dataset,
        baselines=BASELINES.model_copy(
            update={
                "pca": tuple(
                    BASELINES.pca[0].model_copy(update={"components": size}) for size in sizes
                )
            }
        ),
        models=models or tuple(example_model(name, metrics[name].code_size) for name in metrics),
        metrics=dict(metrics),
    )


def verdict(
    changes: dict[str, Any],
    best: dict[str, BestLoss] = BEST,
    gate: GateParameters = GateParameters(),
    run: RunParameters = RunParameters(),
    rows: int = 10_000,
) -> Verdict:
    good = METRICS.model_copy(update={"validation_loss": 0.28, **changes})
    reasons = {} if best else {"deep": NO_RUN}
    return judge(record({"deep": good}, rows), Rivals(best, reasons), gate, run)


def accuracy(nearest_5: float) -> dict[str, Any]:
    assert METRICS.probes
    return {"probes": METRICS.probes.model_copy(update={"nearest_5": nearest_5})}


BEFORE = Manifest(
    **dict(record({"deep": METRICS})),
    finished=datetime.now(UTC),
    drift=None,
    verdict=Verdict(outcome="published", reason=""),
    best_losses={},
    versions=VERSIONS,
    files=(),
).model_copy(update={"run": "before"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"live_units": 23},
            (
                "23 of 32 deep code units are live, at least 24 required, 1 too few: train for "
                "more epochs, or choose a smaller --code-size or --live-share."
            ),
        ),
        (
            {"effective_dimension": 1.41},
            (
                "Deep effective dimension 1.41 is 4.41 % of 32 units, 15 % required: "
                "train for more epochs, or choose a smaller --code-size or --dimension-share."
            ),
        ),
        (
            accuracy(0.8337),
            (
                "Deep accuracy of five nearest neighbours 83.37% is 1.63 points below PCA-32's "
                "85.00%, 1 allowed: train for more epochs, or raise --neighbor-tolerance."
            ),
        ),
        (
            {"reconstruction_mse": 0.0151},
            (
                "Deep mean squared error 0.01510 is 1.007 times PCA-32's 0.01500, 1 allowed: train "
                "for more epochs, or raise --pca-ratio."
            ),
        ),
        ({"reconstruction_mse": float("nan")}, "mean squared error nan; both must be finite: "),
        (
            {"validation_loss": 0.2821},
            (
                "Deep loss 0.2821 is 5.250 % worse than the best published, 0.2800 in run 2b6e6b7a "
                "(above the floor 0.2400), 5 % allowed: train for more epochs, or raise "
                "--tolerance."
            ),
        ),
        ({"validation_loss": float("inf")}, "Deep loss is inf, mean squared error 0.01200"),
    ],
)
def test_a_refusal_tells_by_how_much_and_what_to_do(changes: dict[str, Any], reason: str) -> None:
    refused = verdict(changes)
    assert refused.outcome == "refused"
    assert not refused.published
    assert reason in refused.reason
    assert re.match("[12] of 6 checks failed: ", refused.reason)
    assert Verdict.model_validate_json(refused.model_dump_json()) == refused


def test_a_model_that_keeps_a_basis_may_start_a_new_one() -> None:
    """Anchoring costs loss, and its codes cannot be better than the basis allows."""
    anchored = DEEP.model_copy(update={"spec": DEEP.spec.anchored_to(anchor_to(DEEP))})
    for changes in ({"validation_loss": 0.2821}, {"effective_dimension": 1.41}, accuracy(0.83)):
        for model, advised in ((anchored, True), (DEEP, False)):
            metrics = {"deep": METRICS.model_copy(update={"validation_loss": 0.28, **changes})}
            run = record(metrics, models=(model,))
            refused = judge(run, Rivals(BEST, {}), GateParameters(), RunParameters())
            assert refused.outcome == "refused"
            advice = "train for more epochs, start a new basis with --new-basis, or "
            assert (advice in refused.reason) is advised


def test_the_deep_model_of_version_0_1_is_refused_for_its_codes() -> None:
    """Effective dimension 1.4 of 32, five neighbours 0.8337, PCA-32 0.8524."""
    stored = Manifest.model_validate_json((RELEASED / "0.1.0.json").read_text())
    found = judge(
        stored, find_rivals(stored.dataset, stored.models, []), GateParameters(), RunParameters()
    )
    failed = {check.name for check in found.checks if not check.passed}
    assert failed == {
        "deep: effective dimension",
        "deep: five nearest neighbours compared with PCA",
    }
    assert found.outcome == "refused"


@pytest.mark.parametrize(
    ("minutes", "images", "outcome"),
    [
        (5, "new", "refused"),
        (5, "a" * 64, "published"),
        (-5, "new", "published"),
        (90, "new", "published"),  # in the future: the clock was set back since
    ],
)
def test_a_slow_run_replaces_no_newer_images(minutes: int, images: str, outcome: str) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    run = record({"deep": METRICS}).model_copy(update={"started": an_hour_ago})
    started = run.started + timedelta(minutes=minutes)
    dataset = run.dataset.model_copy(update={"payload_sha256": images})
    facts = {"started": started, "finished": started + timedelta(minutes=1), "dataset": dataset}
    newer = BEFORE.model_copy(update=facts)
    rivals = Rivals({}, {"deep": NO_RUN})
    found = judge(run, rivals, GateParameters(), RunParameters(), previous=newer)
    assert found.outcome == outcome
    said = "Run before, which started later, has published other images meanwhile: start this run"
    assert (said in found.reason) is (outcome == "refused")
    anyway = RunParameters(publish_anyway=True)
    assert judge(run, rivals, GateParameters(), anyway, previous=newer).published


def test_who_used_the_recipe_of_the_lab_is_told_so() -> None:
    assert DEEP.spec.recipe.unit_variance
    lab = choose_recipe("lab", DEEP.spec.architecture, epochs=50, batch_size=256)
    spec = DEEP.spec.model_copy(update={"recipe": lab})
    metrics = {"deep": METRICS.model_copy(update={"effective_dimension": 1.4})}
    made = record(metrics, models=(DEEP.model_copy(update={"spec": spec}),))
    reason = judge(made, Rivals(BEST, {}), GateParameters(), RunParameters()).reason
    assert ": train with --recipe default, which gives better models, or choose a" in reason


@pytest.mark.parametrize(
    ("code_size", "dimension", "rows"),
    [(1, 1.0, 10_000), (2, 1.0, 10_000), (6, 1.0, 10_000), (32, 1.0, 2), (32, 0.0, 1)],
)
def test_no_code_is_held_to_more_directions_than_it_can_have(
    code_size: int, dimension: float, rows: int
) -> None:
    """One unit has one direction, and two images differ in one."""
    changes = {"code_size": code_size, "live_units": code_size, "effective_dimension": dimension}
    assert verdict(changes, {}, rows=rows).published


def test_a_code_that_never_varies_is_refused() -> None:
    changes = {"code_size": 2, "live_units": 2, "effective_dimension": 0.0}
    found = verdict(changes, {})
    assert "Deep effective dimension 0.00 is 0 % of 2 units, 15 % required" in found.reason


def test_few_images_have_few_directions() -> None:
    found = verdict({"effective_dimension": 1.2}, rows=10)
    assert (
        "1.20 is 13.3 % of the 9 directions that 10 images can have, 15 % required" in found.reason
    )


@pytest.mark.parametrize(
    ("rows", "least"),
    [(10_000, 0.84), (100_000, 0.84), (2_500, 0.83), (100, 0.75), (4, 0.35), (1, 0.0)],
)
def test_few_test_images_widen_the_tolerance_as_their_sampling_error(
    rows: int, least: float
) -> None:
    """Twice as much for a quarter of the images; probes use 10,000 at most."""
    assert verdict(accuracy(least), rows=rows).published
    check = next(check for check in verdict({}, rows=rows).checks if "neighbours" in check.name)
    assert check.limit == pytest.approx(least, abs=1e-9)


def test_images_without_labels_have_no_accuracies() -> None:
    found = verdict({"probes": None})
    assert found.published
    assert "Deep neighbours not compared: the images have no labels" in [
        check.text for check in found.checks
    ]


def test_a_little_worse_is_within_the_tolerance() -> None:
    """5 % of 0.04 above the floor of 0.24."""
    assert verdict({"validation_loss": 0.2819}).published


def test_the_limits_are_parameters() -> None:
    gate = GateParameters(
        tolerance=1, live_share=0.5, pca_ratio=2, dimension_share=0.03, neighbor_tolerance=0.1
    )
    worse = {"validation_loss": 0.31, "live_units": 16, "reconstruction_mse": 0.02}
    worse |= {"effective_dimension": 1.0, **accuracy(0.76)}
    assert verdict(worse, gate=gate).published
    assert not verdict(worse).published


def test_the_share_of_live_units_is_a_minimum() -> None:
    gate = GateParameters(live_share=0.55)
    assert verdict({"code_size": 20, "live_units": 11}, gate=gate).published
    assert not verdict({"code_size": 20, "live_units": 10}, gate=gate).published


def test_publish_anyway_says_what_it_overrode() -> None:
    found = verdict({"live_units": 3}, run=RunParameters(publish_anyway=True))
    assert found.published
    assert found.reason.startswith("Published although 1 of 6 checks failed: 3 of 32 deep code")


def test_a_quick_look_is_never_published() -> None:
    found = verdict({}, run=RunParameters(quick=True, publish_anyway=True))
    assert (found.outcome, found.reason) == ("quick look", "Quick look: not published.")


def test_the_first_run_has_nothing_to_compare_with() -> None:
    assert verdict({}, best={}).reason == (
        "All 6 checks passed. Losses not compared: no run was published before."
    )
    assert verdict({}).reason == "All 6 checks passed."


def test_each_model_without_a_rival_is_named_with_the_reason() -> None:
    metrics = {
        name: METRICS.model_copy(update={"validation_loss": 0.28}) for name in ("deep", "wide")
    }
    reason = "Wide loss not compared: no wide model was published before"
    found = judge(
        record(metrics), Rivals(BEST, {"wide": reason}), GateParameters(), RunParameters()
    )
    assert found.published
    assert found.reason == f"All 12 checks passed. {reason}."
    rows = {check.name: check for check in found.checks}
    assert rows["deep: loss compared with the best published"].limit is not None
    assert rows["wide: loss compared with the best published"].limit is None
    assert rows["wide: loss compared with the best published"].text == reason


def test_a_refusal_says_so_too() -> None:
    reason = verdict({"live_units": 3}, best={}).reason
    assert re.search("3 of 32 deep code units.*. Losses not compared: no run was published", reason)


def test_an_unreadable_rival_is_named_once() -> None:
    made = record({"deep": METRICS})
    rivals = find_rivals(LARGE, made.models, [])
    found = judge(made, rivals, GateParameters(), RunParameters(), "x is damaged")
    assert found.reason == (
        "1 of 7 checks failed: The published run cannot be read, so the losses cannot be compared: "
        "x is damaged."
    )


def test_quality_cannot_slip_a_little_each_week() -> None:
    """Ten runs, each 4 % worse than the last: the second is still near enough to the first."""
    best: dict[str, BestLoss] = {}
    outcomes = []
    for week in range(10):
        loss = 0.24 + 0.04 * 1.04**week
        found = verdict({"validation_loss": loss}, best=best)
        outcomes.append(found.outcome)
        if found.published:
            own = {loss_key(DEEP): BestLoss(validation_loss=loss, run=str(week))}
            best = merge_best((best, own))
    assert outcomes == ["published"] * 2 + ["refused"] * 8


def test_every_model_has_six_checks() -> None:
    checks = verdict({"live_units": 31}).checks
    assert [(check.name, check.found) for check in checks] == [
        ("deep: loss and error are finite numbers", None),
        ("deep: live code units", 31),
        ("deep: effective dimension", 20),
        ("deep: five nearest neighbours compared with PCA", 0.85),
        ("deep: error compared with PCA", 0.012),
        ("deep: loss compared with the best published", 0.28),
    ]
    limits = [check.limit for check in checks]
    assert limits[:2] == [None, 24]
    assert limits[2:] == pytest.approx([4.8, 0.84, 0.015, 0.282], rel=1e-12)
    assert checks[3].text == (
        "Deep accuracy of five nearest neighbours 85.00% is not below 84.00%, the limit (PCA-32: "
        "85.00%, tolerance 1 points)"
    )


def test_no_model_is_held_to_a_pca_that_is_exact() -> None:
    """Nor are its codes held to directions that such images may not have."""
    changes = {"pca_mse": 1e-15, "reconstruction_mse": 1e-4, "effective_dimension": 1.0}
    found = verdict(changes)
    assert found.published
    texts = [
        check.text for check in found.checks if "PCA-32 reconstructs these images" in check.text
    ]
    assert texts == [
        "Deep effective dimension not compared: PCA-32 reconstructs these images exactly",
        "Deep error not compared: PCA-32 reconstructs these images exactly",
    ]


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


SOON = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
ASKED = Review(0.01, "a" * 64, SOON, Person(can_be_asked=True))
SLIGHTLY_WORSE = METRICS.model_copy(update={"validation_loss": 0.281})
"""By 2.5 % of the rival's excess of 0.04."""


def review(
    asked: Review | None,
    metrics: Metrics = SLIGHTLY_WORSE,
    run: RunParameters = RunParameters(),
) -> Verdict:
    found = record({"deep": metrics})
    return judge(found, Rivals(BEST, {}), GateParameters(), run, review=asked)


def answered(answer: str, question: str = "a" * 64, **more: str) -> Review:
    approval = Approval.model_validate(
        {"question": question, "reason": "Why", "until": SOON, "answer": answer, **more}
    )
    return ASKED._replace(person=Person(can_be_asked=True, answer=approval))


def test_a_run_that_is_worse_than_may_be_published_unasked_waits_for_a_person() -> None:
    verdict = review(ASKED)
    assert verdict.waits
    assert verdict.approval
    assert verdict.approval.answer is None
    assert verdict.reason == (
        "All 6 checks passed. Deep loss 0.2810 is 2.500 % worse than the best published, 0.2800 in "
        "run 2b6e6b7a (above the floor 0.2400), up to 1 % is published unasked. It waits until "
        "2026-11-29 03:00 UTC for a person to decide."
    )


@pytest.mark.parametrize("loss", [0.2801, 0.28, 0.27])
def test_a_run_that_is_good_enough_waits_for_nobody(loss: float) -> None:
    verdict = review(ASKED, METRICS.model_copy(update={"validation_loss": loss}))
    assert (verdict.outcome, verdict.approval) == ("published", None)


@pytest.mark.parametrize(
    ("run", "outcome"),
    [(RunParameters(quick=True), "quick look"), (RunParameters(publish_anyway=True), "published")],
)
def test_nobody_is_asked_about_a_quick_look_or_what_somebody_wanted_published(
    run: RunParameters, outcome: str
) -> None:
    verdict = review(ASKED, run=run)
    assert (verdict.outcome, verdict.approval) == (outcome, None)


def test_nobody_is_asked_by_default_or_about_what_the_gate_refuses() -> None:
    assert review(None).outcome == "published"
    verdict = review(ASKED, METRICS.model_copy(update={"validation_loss": 0.31}))
    assert (verdict.outcome, verdict.approval) == ("refused", None)


def test_a_run_that_cannot_wait_is_refused() -> None:
    verdict = review(ASKED._replace(person=NOBODY))
    assert verdict.outcome == "refused"
    assert verdict.reason.endswith("Only runs of a deployment can wait for a person.")


@pytest.mark.parametrize(
    ("asked", "outcome", "said"),
    [
        (answered("publish"), "published", "Why. A person approved it."),
        (
            answered("publish", name="Ada", note="Fine."),
            "published",
            "Why. Ada approved it: Fine.",
        ),
        (answered("refuse", name="Ada"), "refused", "Why. Ada refused it."),
        (answered("time-out"), "refused", "Why. Nobody approved it until 2026-11-29 03:00 UTC."),
    ],
)
def test_the_verdict_says_what_a_person_decided(asked: Review, outcome: str, said: str) -> None:
    verdict = review(asked)
    assert verdict.outcome == outcome
    assert verdict.reason == f"All 6 checks passed. {said}"
    assert verdict.approval == asked.person.answer


def test_an_approval_of_something_else_counts_only_where_nobody_need_be_asked() -> None:
    other = answered("publish", question="b" * 64)
    again = review(other)
    assert again.waits
    assert again.approval
    assert (again.approval.question, again.approval.answer) == ("a" * 64, None)
    assert review(other, METRICS.model_copy(update={"validation_loss": 0.28})).published
    assert review(other, METRICS.model_copy(update={"validation_loss": 0.31})).outcome == "refused"


def test_a_refusal_holds_whatever_else_is_published_meanwhile() -> None:
    other = answered("refuse", question="b" * 64)
    assert review(other, METRICS.model_copy(update={"validation_loss": 0.27})).outcome == "refused"


def test_the_question_is_about_weights_rivals_and_what_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, rivals = record({"deep": SLIGHTLY_WORSE}), Rivals(BEST, {})
    assert plan_review(run, rivals, "before", NOBODY) is None
    monkeypatch.setenv("AUTOENCODER_APPROVAL_TOLERANCE", "0.01")
    better = {key: loss.model_copy(update={"run": "x"}) for key, loss in BEST.items()}
    retrained = (DEEP.model_copy(update={"weights_sha256": "f" * 64}),)
    asked = [
        plan_review(run, rivals, "before", NOBODY),
        plan_review(run, rivals, "later", NOBODY),
        plan_review(run, Rivals(better, {}), "before", NOBODY),
        plan_review(run.model_copy(update={"models": retrained}), rivals, "before", NOBODY),
        plan_review(run.model_copy(update={"run": "again"}), rivals, "before", NOBODY),
    ]
    questions = [found.question for found in asked if found]
    assert len(questions) == 5
    assert len(set(questions)) == 4
    assert questions[0] == questions[4]


def test_an_answer_counts_even_where_the_deployment_asks_no_more() -> None:
    asked = plan_review(
        record({"deep": SLIGHTLY_WORSE}), Rivals(BEST, {}), None, answered("refuse").person
    )
    assert review(asked).outcome == "refused"
