import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.records import FigureRecord
from tasks.steps.prefect_artifacts import (
    THUMBNAIL_BYTES,
    failures_logged,
    show_results,
    thumbnail,
)
from tests.conftest import METRICS
from tests.prefect_server import shown_by

REPORT = "# A report\n\n![Two (2) lines](figures/a.png)\n\nIn (words)\n"


def test_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with failures_logged("the results"):
        _ = {"here": 1}["gone"]
    (record,) = caplog.records
    assert record.getMessage() == "Could not show the results in Prefect: KeyError: 'gone'"


@pytest.mark.usefixtures("prefect_server")
def test_results_are_shown_as_report_metrics_and_figures(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(REPORT)
    (tmp_path / "figures").mkdir()
    figures = [
        FigureRecord(path=f"figures/{name}.png", title=name, text=f"shows {name}")
        for name in ("classes", "map-my_model")
    ]
    for figure in figures:
        Image.new("RGB", (30, 20)).save(tmp_path / figure.path)
    report, metrics = tmp_path / "report.md", {"deep": METRICS}
    shown = shown_by(lambda: show_results("my_set", "Run 1", report, figures, metrics))
    assert set(shown) == {
        "report-my-set",
        "metrics-my-set",
        "my-set-classes",
        "my-set-map-my-model",
    }
    assert shown["report-my-set"]["data"] == "# A report\n\nIn (words)\n"
    assert shown["report-my-set"]["description"] == "Run 1"
    for text in ("32 of 32", "20.0 of 32", '"five neighbours": "85.00%"'):
        assert text in shown["metrics-my-set"]["data"]
    map_of_codes = shown["my-set-map-my-model"]
    assert map_of_codes["description"] == "shows map-my_model"
    assert map_of_codes["data"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("side", [100, 700])
def test_thumbnails_are_small_pictures(tmp_path: Path, side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "figure.png")
    uri = thumbnail(tmp_path / "figure.png")
    assert len(uri) <= THUMBNAIL_BYTES
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).width <= side
