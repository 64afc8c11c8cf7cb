import pytest

from tasks.evaluation.records import BasisMetrics
from tasks.reports.metrics_table import METRICS as TABLE
from tasks.reports.metrics_table import describe_worth, find_notes, read_field
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
