from pathlib import Path

import pytest

from tests.crash.readers import besiege


@pytest.mark.timeout(240)
def test_readers_see_nothing_but_complete_and_consistent_runs(tmp_path: Path) -> None:
    figures = besiege(tmp_path, seconds=20)
    assert figures["kills"] >= 1
    assert figures["reads"] > 50
    assert figures["published"] > 5
    assert figures["switches seen by readers"] > 5
