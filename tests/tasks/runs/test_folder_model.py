import pytest

from tests.crash.folder_model import STEPS_OF_AN_EXAMPLE, take_steps


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_whatever_happens_readers_find_a_complete_run_or_a_line_that_says_why() -> None:
    """`make crash` takes thousands of other steps."""
    taken = take_steps(2 * STEPS_OF_AN_EXAMPLE, derandomize=True)
    assert taken["steps"] > STEPS_OF_AN_EXAMPLE
