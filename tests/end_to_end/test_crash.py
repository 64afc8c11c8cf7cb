from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import GATE, SAMPLE, SAMPLE_FOLDER, TRAINING
from tests.crash.harness import ForkedVictim, Victim
from tests.crash.results import results
from tests.crash.victim import POINTS

FLAGS = [
    *("--dataset", SAMPLE.dataset, "--source.idx-folder", str(SAMPLE_FOLDER)),
    *("--shallow-epochs", str(TRAINING.shallow_epochs), "--deep-epochs", str(TRAINING.deep_epochs)),
    *("--batch-size", str(TRAINING.batch_size), "--pca-ratio", str(GATE.pca_ratio)),
]


@pytest.mark.timeout(1800)
def test_a_run_killed_at_every_named_point_leaves_no_trace(
    prefect_server: str, compiled: dict[str, str], tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    victim = ForkedVictim(FLAGS, prefect_server, checkpoint_seconds=0.0, variables=compiled)
    usual = Victim(FLAGS, prefect_server, checkpoint_seconds=0.0)
    with ThreadPoolExecutor(1) as executor, victim.ready():
        undisturbed = executor.submit(usual.attempt, whole)
        for point in POINTS:
            attempt = victim.attempt(killed, point)
            assert attempt.killed, f"not killed {point}:\n{attempt.log}"
        last = victim.attempt(killed)
    assert not undisturbed.result().killed
    assert not last.killed
    assert "Unchanged" in last.log, "the last kill came after the switch"
    assert results(killed, SAMPLE.dataset) == results(whole, SAMPLE.dataset)
