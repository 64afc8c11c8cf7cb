import base64
import io
import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.core.records import DatasetRecord, EpochRecord, FigureRecord
from tasks.models.state import Progress
from tasks.models.store import ModelRecord
from tasks.runs.building import building_folder
from tasks.steps import ui as artifacts
from tasks.steps.ui import (
    THUMBNAIL_BYTES,
    progress_artifact,
    show_run,
    show_sweep,
    thumbnail,
)
from tests.conftest import complete
from tests.sweeping import SWEEP

IDENTITY = "00000000-0000-0000-0000-000000000001"
REPORT = "# A report\n\n![Two (2) lines](figures/a.png)\n\nIn (words)\n"
HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)


def at(steps: int) -> Progress:
    return Progress(steps_done=steps, steps=10, epochs_done=1, epochs=2, history=HISTORY)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What Prefect was asked for, instead of asking it."""
    found: list[tuple[Any, ...]] = []

    def create(*args: Any) -> str:
        found.append(args)
        return IDENTITY

    monkeypatch.setattr(artifacts, "PROGRESS_SECONDS", 0.0)
    for name in ("progress", "markdown", "table", "image"):
        monkeypatch.setattr(artifacts, f"create_{name}_artifact", create)
    monkeypatch.setattr(artifacts, "update_progress_artifact", lambda *args: found.append(args))
    return found


def wait_for_updates() -> None:
    """Wait until the last update of a training was made: it must not meet the real Prefect."""
    for thread in threading.enumerate():
        if thread.name.startswith("progress"):
            thread.join(10)


def test_progress_moves_and_ends_at_the_end(calls: list[tuple[Any, ...]]) -> None:
    with progress_artifact("my_model") as report:
        for steps in (2, 5, 10):
            report(at(steps))
            time.sleep(0.1)
    wait_for_updates()
    assert calls[0] == (
        20.0,
        "training-my-model",
        "my_model model: epoch 1 of 2, validation loss 0.3100",
    )
    assert calls[1][1] == 50.0
    assert calls[-1][1] == 100.0


def test_a_training_never_waits_for_the_api(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def hang(*_: Any) -> str:
        answered.wait(20)
        return IDENTITY

    monkeypatch.setattr(artifacts, "create_progress_artifact", hang)
    started = time.monotonic()
    with progress_artifact("deep") as report:
        for steps in range(10):
            report(at(steps))
    assert time.monotonic() - started < 5
    answered.set()
    wait_for_updates()


def test_an_api_that_fails_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("gone")

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(artifacts, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(artifacts, "create_progress_artifact", fail)
    with progress_artifact("deep") as report:
        report(at(5))
    wait_for_updates()
    assert {record.getMessage() for record in caplog.records} == {
        "Prefect was not told about the training's progress: ConnectionError: gone"
    }


def test_a_run_is_shown_with_report_metrics_and_figures(
    calls: list[tuple[Any, ...]], model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    figures = tuple(
        FigureRecord(path=f"figures/{name}.png", title=name, text=f"shows {name}")
        for name in ("classes", "map-my_model")
    )
    for figure in figures:
        (root / figure.path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(root / figure.path)
    show_run(manifest.model_copy(update={"figures": figures}), root, REPORT)
    markdown, table, *images = calls
    assert markdown[:2] == ("# A report\n\nIn (words)\n", f"report-{dataset.name}")
    assert table[0][0]["live units"] == "32 of 32"
    assert [image[1:] for image in images] == [
        (f"{dataset.name}-classes", "shows classes"),
        (f"{dataset.name}-map-my-model", "shows map-my_model"),
    ]
    assert building_folder("x", root).exists()


def test_a_sweep_is_shown_with_report_table_and_chart(
    calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "sweep.md").write_text("# A sweep")
    Image.new("RGB", (30, 20)).save(tmp_path / "figures" / "loss-by-code-size.png")
    show_sweep(SWEEP, tmp_path)
    markdown, table, chart = calls
    assert markdown[:2] == ("# A sweep", "sweep-mine-report")
    assert table[1] == "sweep-mine"
    assert [row["code size"] for row in table[0]] == [8, 32]
    assert table[0][0]["PCA's"] == 0.0264
    assert chart[1] == "sweep-mine-chart"


@pytest.mark.parametrize("side", [100, 2000])
def test_thumbnails_are_small_pictures(tmp_path: Path, side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "figure.png")
    uri = thumbnail(tmp_path / "figure.png")
    assert len(uri) <= THUMBNAIL_BYTES
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).width <= side
