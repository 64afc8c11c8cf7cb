import re
from pathlib import Path

from tasks.evaluation.records import BasisMetrics
from tasks.models.store import ModelRecord
from tasks.reports.report import render_html, render_markdown
from tasks.reports.sections import Table, make_sections
from tasks.runs.kept_basis import check_kept_basis
from tasks.runs.manifest import Manifest, Verdict
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
        "accuracy: five nearest neighbours",
        "accuracy: nearest neighbour",
        "accuracy: linear probe",
        "effective dimension",
        "cross-entropy per pixel (nats)",
    ], "what the codes are worth comes first"
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["cross-entropy per pixel (nats)"] == ["0.3000", "-", "-"]
    assert rows["mean squared error"] == ["0.01200", "0.01500", "-"]
    assert rows["live code units"] == ["32", "-", "-"]
    assert rows["mean unit activity"] == ["90.0%", "-", "-"]
    assert rows["accuracy: five nearest neighbours"] == ["85.00%", "85.00%", "85.00%"]


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


def lines(manifest: Manifest, other: Manifest | None) -> list[str]:
    return [": ".join(line) for line in make_sections(manifest, other)["bases"]]


KEPT = METRICS.model_copy(
    update={"kept_basis": BasisMetrics(own_nearest=0.995, mean_distance=1.25, probes=PROBES)}
)


def anchored(name: str = "shallow") -> ModelRecord:
    """A model that keeps the basis of another one."""
    model = example_model(name)
    spec = model.spec.anchored_to(anchor_to(example_model()))
    return model.model_copy(update={"spec": spec, "encoder_weights_sha256": "9" * 64})


def test_the_report_says_whether_stored_codes_stay_valid() -> None:
    free = example_manifest()
    new = ["New basis: rebuild what you stored: shallow, basis cccccccccccc"]
    assert lines(free, None) == new
    other = free.models[0].model_copy(update={"basis": "0" * 64})
    assert lines(free, example_manifest(models=(other,))) == new
    unchanged = ["Stored codes of this basis stay valid: shallow, basis cccccccccccc"]
    assert lines(free, free) == unchanged
    share = "(99.50% of the test images are nearest to their own old code)"
    assert lines(example_manifest(KEPT, models=(anchored(),)), free) == [f"{unchanged[0]} {share}"]


def test_a_basis_that_is_not_kept_is_said() -> None:
    lost = BasisMetrics(own_nearest=0.5, mean_distance=1, probes=None)
    (check,) = check_kept_basis("shallow", lost, 0.98)
    refused = Verdict(outcome="refused", reason="", checks=(check,))
    manifest = example_manifest(
        METRICS.model_copy(update={"kept_basis": lost}), models=(anchored(),), verdict=refused
    )
    (line,) = lines(manifest, example_manifest())
    assert line == (
        "Basis not kept: do not use stored codes with these: shallow, basis cccccccccccc "
        "(50.00% of the test images are nearest to their own old code)"
    )


def test_models_with_one_answer_stand_together() -> None:
    own = example_model("mine").model_copy(update={"basis": "5" * 64})
    metrics = {"shallow": KEPT, "deep": KEPT, "mine": METRICS}
    manifest = example_manifest(models=(anchored(), anchored("deep"), own)).model_copy(
        update={"metrics": metrics}
    )
    stay, new = lines(manifest, None)
    assert re.findall(r"\w+, basis \w+", stay) == [
        "shallow, basis cccccccccccc",
        "deep, basis cccccccccccc",
    ]
    assert new == "New basis: rebuild what you stored: mine, basis 555555555555"


def test_the_answer_stands_before_everything_but_the_verdict(tmp_path: Path) -> None:
    manifest = example_manifest(KEPT, models=(anchored(),))
    head = render_markdown(manifest, None).partition("\n- shallow: accuracy")[0]
    assert head.endswith(
        "**all checks passed**\n\n**Stored codes of this basis stay valid:** shallow, basis "
        "cccccccccccc (99.50% of the test images are nearest to their own old code)\n"
    )
    page = render_html(manifest, None, tmp_path).partition("<li>")[0]
    assert "<strong>Stored codes of this basis stay valid:</strong> shallow, basis cc" in page


def test_anchored_codes_are_measured_among_old_ones() -> None:
    table = make_sections(example_manifest(KEPT, models=(anchored(),)), None)["metrics"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["five nearest neighbours among old codes"] == ["85.00%", "-", "-"]
    assert rows["own old code is nearest"] == ["99.50%", "-", "-"]
    assert rows["mean distance to own old code"] == ["1.25", "-", "-"]
    free = make_sections(example_manifest(), None)["metrics"]
    assert not [row for row in free.rows if "old code" in row[0]]


def test_a_run_of_an_earlier_version_says_nothing_about_its_basis() -> None:
    earlier = example_model().model_copy(update={"basis": None})
    assert not make_sections(example_manifest(models=(earlier,)), None)["bases"]


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
    assert "| accuracy: linear probe | - | 80.00% | 80.00% |" in text


def test_published_results_are_those_of_fashion_mnist_alone() -> None:
    assert "Published results" not in render_markdown(example_manifest(), None)
    named = EXAMPLE_DATASET.model_copy(update={"name": "fashion-mnist"})
    table = make_sections(example_manifest(dataset=named), None)["references"]
    assert ["reference notebook, deep", "32", "0.2774"] in [row[:3] for row in table.rows]
    losses = [row[2] for row in table.rows]
    assert losses == sorted(losses)
    assert losses[0] == "0.2712"
    assert ["this run, shallow", "32", "0.3000", "this report"] in table.rows
