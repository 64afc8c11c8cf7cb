import json
from pathlib import Path

import pytest

from tests.crash.readers import besiege

LEAST = {"kills": 2, "switches": 6, "refusals": 1, "deletions": 1}


@pytest.mark.timeout(900)
def test_readers_see_nothing_but_complete_and_consistent_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readers and publishers are watched by `besiege`; here it must have been worth watching."""
    figures = besiege(tmp_path, seconds=20, least=LEAST)
    with capsys.disabled():
        print(f"\nThe siege: {json.dumps(figures)}")
    assert figures["reads"] > 50
    assert figures["switches seen by readers"] > 5
