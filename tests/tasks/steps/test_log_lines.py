import pytest

from tasks.core.records import FigureRecord, FileRecord
from tasks.steps.log_lines import amount
from tests.conftest import BASELINES, EXAMPLE_DATASET, METRICS, example_model

FILE = FileRecord(path="codes/test.h5", size=2_300_000, sha256="a" * 64)
FIGURE = FigureRecord(path="figures/a.png", title="a", text="shows a")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (EXAMPLE_DATASET, "3 train images, 2 test images of mine"),
        (example_model(), "2 epochs, validation loss 0.3100"),
        (FILE, "codes/test.h5, 2.3 MB"),
        (BASELINES, "entropy floor 0.2400, PCA-32 error 0.01500"),
        (METRICS, "loss 0.3000, error 0.01200, 32 of 32 code units live"),
        ([FIGURE, FIGURE], "2 figures"),
        (None, ""),
        ("cpu", ""),
    ],
)
def test_a_result_is_told_in_a_few_words(result: object, words: str) -> None:
    assert amount(result) == words
