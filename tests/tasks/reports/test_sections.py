from pathlib import Path

import pytest

from tasks.evaluation.records import BasisMetrics
from tasks.reports.report import render_html, render_markdown
from tasks.reports.sections import Table, describe_seconds, make_sections
from tasks.runs.manifest import BestLoss, Manifest
from tasks.runs.rivals import loss_key
from tests.conftest import EXAMPLE_DATASET, METRICS, PROBES, anchor_to, example_model
from tests.tasks.reports.manifests import example_manifest


def test_numbers_stand_to_the_right_and_text_to_the_left() -> None:
    rows = [["a", "1,000", "-3.1%", "x", "+0.1"], ["b", "-", "2.0%", "1", "32 of 32"]]
    table = Table(["", "rows", "share", "note", "units"], rows)
    assert table.numeric == [False, True, True, False, False]


def test_metrics_stand_beside_those_of_pca_and_the_pixels() -> None:
    table = make_sections(example_manifest(), None)["metrics"]
    assert table.columns == ["", "shallow", "PCA-32", "pixels"]
    assert [row[0] for row in table.rows[:5]] == [
        "accuracy: five nearest neighbours ↑",
        "accuracy: nearest neighbour ↑",
        "accuracy: linear probe ↑",
        "effective dimension ↑",
        "loss (nats per pixel) ↓",
    ], "what the codes are worth comes first"
    rows = {row[0].rstrip(" ↑↓"): row[1:] for row in table.rows}
    assert rows["loss (nats per pixel)"] == ["0.3000", "-", "-"]
    assert rows["mean squared error"] == ["0.01200", "0.01500", "-"]
    assert rows["live code units"] == ["32", "-", "-"]
    assert rows["mean unit activity"] == ["90.0%", "-", "-"]
    assert rows["accuracy: five nearest neighbours"] == ["85.00%", "85.00%", "85.00%"]


def test_the_best_number_of_a_line_is_marked_and_all_that_are_equal_to_it() -> None:
    table = make_sections(example_manifest(), None)["metrics"]
    rows = {row[0].rstrip(" ↑↓"): number for number, row in enumerate(table.rows)}
    found = {name: [column for row, column in table.best if row == rows[name]] for name in rows}
    assert found["mean squared error"] == [1], "the model's, lower than that of PCA"
    assert sorted(found["accuracy: five nearest neighbours"]) == [1, 2, 3]
    assert found["loss (nats per pixel)"] == [], "there is nothing to compare it with"
    assert found["mean unit activity"] == [], "neither more nor less is better"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "<1 s"),
        (1.4, "1 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (412, "6.9 min"),
        (700, "12 min"),
    ],
)
def test_long_times_are_in_minutes(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text


def test_the_rival_is_named_and_why_it_is_the_one(tmp_path: Path) -> None:
    manifest = example_manifest()
    assert make_sections(manifest, None)["rivals"] == []
    (model,) = manifest.models
    rivals = {
        loss_key(model): BestLoss(validation_loss=0.2834, run="2b6e6b7a-1234"),
        "deep-32, 784-128-32-128-784": BestLoss(validation_loss=0.27, run="another"),
    }
    verdict = manifest.verdict.model_copy(update={"rivals": rivals})
    line = (
        "The shallow loss is compared with 0.2834 of run 2b6e6b7a: the best published one of "
        "shallow models with the layers 784-32-784 on the same test images."
    )
    compared = manifest.model_copy(update={"verdict": verdict})
    assert make_sections(compared, None)["rivals"] == [line]
    assert f"- {line}" in render_markdown(compared, None)
    assert f"<li>{line}</li>" in render_html(compared, None, tmp_path)


def test_the_headline_begins_with_what_the_codes_are_worth() -> None:
    (line,) = make_sections(example_manifest(), None)["headline"]
    rest = (
        "effective dimension 20.0 of 32; loss 0.3000 nats per pixel, 0.0600 above the entropy "
        "floor; mean squared error 0.0120 (PCA-32: 0.0150); 32 of 32 code units live"
    )
    assert line == (
        f"shallow: accuracy of five nearest neighbours 85.0% (PCA-32: 85.0%, pixels: 85.0%), {rest}"
    )
    unlabelled = METRICS.model_copy(update={"probes": None})
    assert make_sections(example_manifest(unlabelled), None)["headline"] == [f"shallow: {rest}"]


KEPT = METRICS.model_copy(
    update={"kept_basis": BasisMetrics(own_nearest=0.995, mean_distance=1.25, probes=PROBES)}
)


def anchored() -> Manifest:
    """A run of a model that keeps the published basis."""
    model = example_model()
    spec = model.spec.anchored_to(anchor_to(model))
    model = model.model_copy(update={"spec": spec, "encoder_weights_sha256": "9" * 64})
    return example_manifest(KEPT, models=(model,), earlier_bases=("c" * 64,))


def test_the_answer_stands_before_everything_but_the_verdict(tmp_path: Path) -> None:
    head = render_markdown(anchored(), None).partition("\n- shallow: accuracy")[0]
    assert head.endswith(
        "**all checks passed**\n\n**Stored codes of this basis stay valid:** shallow, basis "
        "cccccccccccc (99.50% of the test images are nearest to their own old code)\n"
    )
    page = render_html(anchored(), None, tmp_path).partition("<li>")[0]
    assert "<strong>Stored codes of this basis stay valid:</strong> shallow, basis cc" in page


def test_anchored_codes_are_measured_among_old_ones() -> None:
    table = make_sections(anchored(), None)["metrics"]
    rows = {row[0].rstrip(" ↑↓"): row[1:] for row in table.rows}
    assert rows["five nearest neighbours among old codes"] == ["85.00%", "-", "-"]
    assert rows["own old code is nearest"] == ["99.50%", "-", "-"]
    assert rows["mean distance to own old code"] == ["1.25", "-", "-"]
    free = make_sections(example_manifest(), None)["metrics"]
    assert not [row for row in free.rows if "old code" in row[0]]


def test_classes_are_named() -> None:
    named = EXAMPLE_DATASET.model_copy(update={"class_names": ("bag",)})
    table = make_sections(example_manifest(dataset=named), None)["classes"]
    assert table.rows[0] == ["bag", "60", "0.0600", "0.01200"]
    assert table.rows[1][0] == "1"


def test_a_run_without_labels_has_neither_accuracies_nor_classes() -> None:
    bare = METRICS.model_copy(update={"probes": None, "classes": ()})
    manifest = example_manifest(bare)
    without = manifest.baselines.pca[0].model_copy(update={"probes": None})
    pixels = manifest.baselines.pixels.model_copy(update={"probes": None})
    baselines = manifest.baselines.model_copy(update={"pca": (without,), "pixels": pixels})
    text = render_markdown(manifest.model_copy(update={"baselines": baselines}), None)
    assert "## Classes" not in text
    assert "accuracy" not in text


def test_a_metric_that_a_model_lacks_is_a_dash() -> None:
    bare = METRICS.model_copy(update={"probes": None})
    text = render_markdown(example_manifest(bare), None)
    assert "| accuracy: linear probe ↑ | - | **80.00%** | **80.00%** |" in text


def test_published_results_are_those_of_fashion_mnist_alone() -> None:
    assert "Published results" not in render_markdown(example_manifest(), None)
    named = EXAMPLE_DATASET.model_copy(update={"name": "fashion-mnist"})
    table = make_sections(example_manifest(dataset=named), None)["references"]
    assert ["reference notebook, deep", "32", "0.2774"] in [row[:3] for row in table.rows]
    losses = [row[2] for row in table.rows]
    assert losses == sorted(losses)
    assert losses[0] == "0.2712"
    assert ["this run, shallow", "32", "0.3000", "this report"] in table.rows
