from typing import Any

import pytest

from tasks.parameters.retrain import Parameters
from tasks.parameters.training import TrainingParameters
from tasks.reports.comparison import format_change, list_changes, list_differences
from tasks.reports.report import render_markdown
from tests.conftest import EXAMPLE_DATASET, METRICS, SUMMARY
from tests.tasks.reports.manifests import example_manifest


def test_changed_metrics_are_listed_with_their_difference() -> None:
    before = example_manifest(METRICS.model_copy(update={"validation_loss": 0.31}))
    assert list(list_changes(example_manifest(), before)) == [
        ["shallow: loss (nats per pixel)", "0.3000", "0.3100", "-0.0100"],
        ["shallow: loss above the entropy floor", "0.0600", "0.0700", "-0.0100"],
    ]


def test_a_change_below_the_digits_shown_is_not_listed() -> None:
    almost = METRICS.model_copy(update={"validation_loss": METRICS.validation_loss + 1e-6})
    text = render_markdown(example_manifest(), example_manifest(almost))
    assert "-0.0000" not in text
    assert "All metrics are equal in the digits shown here." in text


def test_accuracies_differ_by_percentage_points() -> None:
    assert METRICS.probes
    probes = METRICS.probes.model_copy(update={"linear": 0.79})
    before = example_manifest(METRICS.model_copy(update={"probes": probes}))
    text = render_markdown(example_manifest(), before)
    assert "| shallow: accuracy: linear probe | 80.00% | 79.00% | +1.00 points |" in text


@pytest.mark.parametrize(
    ("change", "form", "text"),
    [(0.01, ".4f", "+0.0100"), (-0.01, ".2%", "-1.00 points"), (2, "d", "+2")],
)
def test_a_change_has_its_sign(change: float, form: str, text: str) -> None:
    assert format_change(change, form) == text


def test_models_parameters_and_versions_that_differ_are_named() -> None:
    now = example_manifest()
    earlier = Parameters(training=TrainingParameters(seed=3)).model_dump(mode="json")
    earlier["models"]["gone"] = True
    before = now.model_copy(
        update={
            "run": "run-0",
            "metrics": {"shallow": METRICS, "wide": METRICS},
            "parameters": earlier,
            "versions": now.versions.model_copy(update={"keras": "2"}),
        }
    )
    assert list(list_differences(now, before)) == [
        "The images are equal.",
        "The wide model is no longer trained.",
        "Parameter models.gone: None, before True.",
        "Parameter training.seed: 0, before 3.",
        "Version of keras: 3, before 2.",
    ]
    assert "The wide model is new." in list(list_differences(before, now))
    assert "## Compared with run run-0" in render_markdown(now, before)


@pytest.mark.parametrize(
    ("means", "sentence"),
    [
        (((0.14, 0.34),), "Their mean moved by 0.200 standard deviations; their spread is 1.000"),
        (((0.2,), (0.4,)), "They have another shape."),
    ],
)
def test_the_drift_of_other_images_is_stated(means: Any, sentence: str) -> None:
    now = example_manifest()
    summary = SUMMARY.model_copy(update={"means": means})
    pixels = now.baselines.pixels.model_copy(update={"summary": summary})
    before = example_manifest(
        dataset=EXAMPLE_DATASET.model_copy(update={"payload_sha256": "0" * 64}),
        baselines=now.baselines.model_copy(update={"pixels": pixels}),
    )
    first, second, *_ = list_differences(now, before)
    assert first == "The images differ."
    assert second.startswith(sentence)
