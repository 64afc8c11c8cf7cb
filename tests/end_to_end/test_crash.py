from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SAMPLE, SAMPLE_FOLDER
from tests.crash.harness import Victim, prefect_server, results
from tests.crash.victim import POINTS

FLAGS = [
    *("--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)),
    *("--shallow-epochs", "4", "--deep-epochs", "4"),
    *("--pca-ratio", "1000", "--live-share", "0"),
]


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with prefect_server() as api_url:
        yield Victim(FLAGS, api_url, checkpoint_seconds=0.0)


@pytest.mark.timeout(240)
def test_a_run_killed_at_every_named_point_leaves_no_trace(victim: Victim, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert not victim.attempt(whole).killed
    for point in POINTS:
        attempt = victim.attempt(killed, point)
        assert attempt.killed, f"not killed {point}:\n{attempt.log}"
    last = victim.attempt(killed)
    assert not last.killed
    assert "Unchanged" in last.log, "the last kill came after the switch"
    assert results(killed, SAMPLE.dataset) == results(whole, SAMPLE.dataset)
