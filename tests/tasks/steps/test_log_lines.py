from tasks.core.records import FileRecord
from tasks.steps import log_lines
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, example_model

FILE = FileRecord(path="codes/test.h5", size=2_300_000, sha256="a" * 64)


def test_a_result_is_summarized_in_a_few_words() -> None:
    summarized = {
        log_lines.summarize_dataset(EXAMPLE_DATASET): "3 train images, 2 test images of mine",
        log_lines.summarize_model(example_model()): "2 epochs, validation loss 0.3100",
        log_lines.summarize_file(FILE): "codes/test.h5, 2.3 MB",
        log_lines.summarize_baselines(BASELINES): "entropy floor 0.2400, PCA-32 error 0.01500",
        log_lines.summarize_metrics(METRICS): (
            "five nearest neighbours 85.0%, effective dimension 20.0 of 32, loss 0.3000, "
            "error 0.01200, 32 of 32 code units live"
        ),
    }
    for found, expected in summarized.items():
        assert found == expected


def test_one_epoch_is_singular() -> None:
    model = example_model()
    recipe = model.spec.recipe.model_copy(update={"epochs": 1})
    short = model.model_copy(update={"spec": model.spec.model_copy(update={"recipe": recipe})})
    assert log_lines.summarize_model(short) == "1 epoch, validation loss 0.3100"
