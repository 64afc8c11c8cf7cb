import logging
from pathlib import Path
from typing import Any

import pytest

from tasks.core.storage import write_record
from tasks.sweeps.records import Summary, find_sweeps, summarize
from tests.sweeping import SWEEP, point


def test_models_that_differ_in_their_seeds_are_summarized() -> None:
    points = (
        point("deep", 32, 0, loss=0.28, error=0.012),
        point("deep", 8, 0, loss=0.30, error=0.020),
        point("shallow", 8, 0, loss=0.33, error=0.030),
        point("deep", 8, 1, loss=0.32, error=0.022),
    )
    found = summarize(points)
    assert found == [
        Summary("deep", 8, [0.30, 0.32], [0.020, 0.022]),
        Summary("deep", 32, [0.28], [0.012]),
        Summary("shallow", 8, [0.33], [0.030]),
    ]
    assert found[0].loss == pytest.approx(0.31)
    assert found[0].error == pytest.approx(0.021)


def test_only_sweeps_of_ours_are_found(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for folder, run in (("b", "b"), ("copy-of-b", "b"), (".partial-c", ".partial-c")):
        write_record(root / "sweeps" / folder / "sweep.json", SWEEP.model_copy(update={"run": run}))
    (root / "sweeps" / "stranger").mkdir()
    (root / "sweeps" / "damaged").mkdir()
    (root / "sweeps" / "damaged" / "sweep.json").write_text("{}")
    assert [sweep.run for sweep in find_sweeps(root)] == ["b"]
    assert "Ignored damaged: " in caplog.text
    assert "sweep.json is damaged: run: Field required" in caplog.text


@pytest.mark.parametrize("parameters", [SWEEP.parameters, {"grid": {"architectures": ["gone"]}}])
def test_a_record_is_read_as_it_was_written(parameters: dict[str, Any], root: Path) -> None:
    sweep = SWEEP.model_copy(update={"parameters": parameters})
    write_record(root / "sweeps" / sweep.run / "sweep.json", sweep)
    assert find_sweeps(root) == [sweep]
