from typing import Any

import pytest

from tasks.evaluation.records import BasisMetrics
from tasks.reports.metrics_table import METRICS as TABLE
from tasks.reports.metrics_table import (
    compare,
    describe_worth,
    find_notes,
    make_tiles,
    read_field,
)
from tests.conftest import BASELINES, METRICS, PROBES
from tests.tasks.reports.manifests import example_manifest


def test_every_field_is_a_number_of_its_record() -> None:
    kept = BasisMetrics(own_nearest=1.0, mean_distance=0.5, probes=PROBES)
    anchored = METRICS.model_copy(update={"kept_basis": kept})
    for metric in TABLE:
        for record, path in (
            (anchored, metric.model_field),
            (BASELINES.pca[0], metric.pca_field),
            (BASELINES.pixels, metric.pixels_field),
        ):
            value = read_field(record, path)
            assert (value is None) == (path == "")
            assert value is None or format(value, metric.format)


def test_a_missing_record_has_no_numbers() -> None:
    assert read_field(METRICS.model_copy(update={"probes": None}), "probes.linear") is None


def test_the_worth_of_codes_has_accuracies_where_there_are_labels() -> None:
    assert describe_worth(METRICS) == (
        "five nearest neighbours 85.0%, effective dimension 20.0 of 32"
    )
    unlabelled = METRICS.model_copy(update={"probes": None})
    assert describe_worth(unlabelled) == "effective dimension 20.0 of 32"


def test_a_code_that_is_almost_one_direction_gets_a_note() -> None:
    narrow = METRICS.model_copy(update={"effective_dimension": 1.25, "correlation": 0.76})
    (note,) = find_notes(example_manifest(narrow))
    assert "almost one direction: at least 80% of its variance" in note
    assert "mean correlation between units 0.76" in note
    assert note.endswith("for 80.0% of the test images, in PCA-32 for 80.0%.")
    unlabelled = narrow.model_copy(update={"probes": None})
    (note,) = find_notes(example_manifest(unlabelled))
    assert note.endswith("say little about the other directions.")


@pytest.mark.parametrize("changes", [{}, {"code_size": 1, "effective_dimension": 1.0}])
def test_other_codes_get_none(changes: dict[str, float]) -> None:
    assert not list(find_notes(example_manifest(METRICS.model_copy(update=changes))))


@pytest.mark.parametrize(
    ("value", "reference", "form", "better", "text", "is_better"),
    [
        (0.871, 0.852, ".1%", "higher", "1.9 points better than PCA-32", True),
        (0.0126, 0.0151, ".4f", "lower", "0.0025 better than PCA-32", True),
        (0.0156, 0.0151, ".4f", "lower", "0.0005 worse than PCA-32", False),
        (0.26841, 0.26839, ".4f", "lower", "equal to PCA-32", None),
        (0.8521, 0.8519, ".1%", "higher", "equal to PCA-32", None),
    ],
)
def test_a_number_is_better_or_worse_in_the_digits_shown(
    value: float, reference: float, form: str, better: Any, text: str, is_better: bool | None
) -> None:
    assert compare(value, reference, form, better, "PCA-32") == (text, is_better)


def test_a_model_has_four_tiles_and_without_labels_three() -> None:
    manifest = example_manifest()
    earlier = METRICS.model_copy(update={"validation_loss": METRICS.validation_loss + 0.01})
    tiles = make_tiles(METRICS, manifest.baselines, earlier)
    assert [tile.name for tile in tiles] == [
        "loss (nats per pixel)",
        "five nearest neighbours",
        "mean squared error",
        "effective dimension",
    ]
    assert tiles[0].value == "0.3000"
    assert ("0.0100 better than the run before", True) in tiles[0].comparisons
    assert ("0.0030 better than PCA-32", True) in tiles[2].comparisons
    unlabelled = METRICS.model_copy(update={"probes": None})
    assert len(make_tiles(unlabelled, manifest.baselines, None)) == 3
