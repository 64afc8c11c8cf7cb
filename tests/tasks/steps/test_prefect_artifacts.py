import base64
import io
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.core.records import DatasetRecord, EpochRecord, FigureRecord
from tasks.models.state import Progress
from tasks.models.store import ModelRecord
from tasks.steps import prefect_artifacts
from tasks.steps.prefect_artifacts import (
    THUMBNAIL_BYTES,
    failures_logged,
    progress_artifact,
    show_run,
    thumbnail,
)
from tests.conftest import complete

REPORT = "# A report\n\n![Two (2) lines](figures/a.png)\n\nIn (words)\n"
HISTORY = (EpochRecord(loss=0.3, validation_loss=0.31),)
NOWHERE = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}


def at(steps: int) -> Progress:
    return Progress(steps_done=steps, steps=10, epochs_done=1, epochs=2, history=HISTORY)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_artifacts, "PROGRESS_SECONDS", 0.0)


def wait_for_updates() -> None:
    """Wait until the last update of a training was made."""
    for thread in threading.enumerate():
        if thread.name.startswith("progress"):
            thread.join(10)


def shown_by(show: Callable[[], None]) -> dict[str, dict[str, Any]]:
    """The artifacts of a flow that shows something."""

    @flow
    def showing() -> str:
        show()
        wait_for_updates()
        return str(flow_run.get_id())

    return artifacts_of(showing())


def artifacts_of(run: str) -> dict[str, dict[str, Any]]:
    """The artifacts of a flow run on the server, by key."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json=wanted).json()
    return {artifact["key"]: artifact for artifact in found}


@pytest.mark.usefixtures("prefect_server")
def test_progress_moves_and_ends_at_the_end() -> None:
    def train() -> None:
        with progress_artifact("my_model") as report:
            for steps in (2, 5):
                end = time.monotonic() + 20
                while percent() != 10 * steps and time.monotonic() < end:
                    report(at(steps))
                    time.sleep(0.05)
                assert percent() == 10 * steps
            report(at(10))

    def percent() -> float | None:
        shown = artifacts_of(str(flow_run.get_id())).get("training-my-model")
        return shown["data"] if shown else None

    progress = shown_by(train)["training-my-model"]
    assert progress["type"] == "progress"
    assert progress["data"] == 100.0
    assert progress["description"] == (
        "my_model model: epoch 2 of 2, loss 0.3000, validation loss 0.3100"
    )


def test_a_training_never_waits_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: Any) -> str:
        answered.wait(20)
        return "00000000-0000-0000-0000-000000000001"

    monkeypatch.setattr(prefect_artifacts, "create_progress_artifact", hang)
    monkeypatch.setattr(prefect_artifacts, "update_progress_artifact", lambda *_: None)
    started = time.monotonic()
    with progress_artifact("deep") as report:
        for steps in range(10):
            report(at(steps))
    assert time.monotonic() - started < 5
    answered.set()
    wait_for_updates()


def test_an_api_that_fails_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with temporary_settings(NOWHERE):
        with progress_artifact("deep") as report:
            report(at(5))
        wait_for_updates()
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert all(line.startswith("Could not show the training's progress in") for line in lines)
    assert "\n" not in lines[0]


def test_other_failures_are_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    with failures_logged("the results"):
        _ = {"here": 1}["gone"]
    (record,) = caplog.records
    assert record.getMessage() == "Could not show the results in Prefect: KeyError: 'gone'"


@pytest.mark.usefixtures("prefect_server")
def test_a_run_is_shown_with_report_metrics_and_figures(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    manifest = complete("run-1", model, dataset, root)
    figures = tuple(
        FigureRecord(path=f"figures/{name}.png", title=name, text=f"shows {name}")
        for name in ("classes", "map-my_model")
    )
    for figure in figures:
        (root / figure.path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(root / figure.path)
    shown = shown_by(
        lambda: show_run(manifest.model_copy(update={"figures": figures}), root, REPORT)
    )
    assert set(shown) == {
        f"report-{dataset.name}",
        f"metrics-{dataset.name}",
        f"{dataset.name}-classes",
        f"{dataset.name}-map-my-model",
    }
    assert shown[f"report-{dataset.name}"]["data"] == "# A report\n\nIn (words)\n"
    assert "32 of 32" in shown[f"metrics-{dataset.name}"]["data"]
    map_of_codes = shown[f"{dataset.name}-map-my-model"]
    assert map_of_codes["description"] == "shows map-my_model"
    assert map_of_codes["data"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("side", [100, 1200])
def test_thumbnails_are_small_pictures(tmp_path: Path, side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "figure.png")
    uri = thumbnail(tmp_path / "figure.png")
    assert len(uri) <= THUMBNAIL_BYTES
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).width <= side
