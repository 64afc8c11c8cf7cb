from tasks.core.records import FileRecord
from tasks.steps import log_lines
from tasks.steps.observer import Facts
from tasks.stores.copying import Copied
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, example_model

FILE = FileRecord(path="codes/test.h5", size=2_300_000, sha256="a" * 64)


def test_a_result_is_summarized_in_a_few_words() -> None:
    summarized = {
        log_lines.summarize_dataset(EXAMPLE_DATASET): Facts(
            "3 training and 2 test images, verified"
        ),
        log_lines.summarize_model(example_model()): Facts(
            f"{example_model().layers}, {example_model().parameters:,} parameters", "loss 0.3100"
        ),
        log_lines.summarize_file(FILE): Facts("codes/test.h5", "2.3 MB"),
        log_lines.summarize_baselines(BASELINES): Facts(
            "PCA-32 error 0.0150", "entropy floor 0.2400"
        ),
        log_lines.summarize_metrics(METRICS): Facts(
            "error 0.0120, 20.0 of 32 dimensions", "neighbours 85.0%"
        ),
    }
    for found, expected in summarized.items():
        assert found == expected


def test_without_labels_there_are_no_neighbours() -> None:
    facts = log_lines.summarize_metrics(METRICS.model_copy(update={"probes": None}))
    assert facts == Facts("error 0.0120, 20.0 of 32 dimensions")


def test_an_earlier_attempt_is_told_only_if_there_is_one() -> None:
    assert log_lines.summarize_earlier(None) == Facts()


def test_what_a_store_has_is_told_with_its_address() -> None:
    run = "0123456789abcdef"
    summarize = log_lines.summarize_copy
    assert summarize(None) == Facts("nothing is published")
    assert summarize(Copied(run, "s3://a/b", is_own=True)) == Facts("s3://a/b has run 01234567")
    later = summarize(Copied(run, "s3://a/b", is_own=False))
    assert later == Facts("s3://a/b has run 01234567, which was published later elsewhere")
    assert log_lines.summarize_restored(run) == Facts("run 01234567")
    assert log_lines.summarize_restored(None) == Facts()
