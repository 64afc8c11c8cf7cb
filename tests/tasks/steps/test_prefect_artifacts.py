import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.steps.prefect_artifacts import (
    embed_figures,
    failures_logged,
    figure_uri,
    show_results,
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
def test_one_artifact_is_the_whole_report_and_one_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text(REPORT)
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "figures" / "a.png")
    report, metrics = tmp_path / "report.md", {"deep": METRICS}
    shown = shown_by(lambda: show_results("my_set", "Published: loss 0.3", report, metrics))
    assert set(shown) == {"report-my-set", "metrics-my-set"}
    assert shown["report-my-set"]["description"] == "Published: loss 0.3"
    assert "![Two (2) lines](data:image/webp;base64," in shown["report-my-set"]["data"]
    for text in ("32 of 32", "20.0 of 32", '"five neighbours": "85.00%"', '"0.3000"'):
        assert text in shown["metrics-my-set"]["data"]


def test_all_else_of_the_report_stays_as_it_is(tmp_path: Path) -> None:
    text = REPORT.replace("figures/a.png", "https://example.com/figures/a.png")
    (tmp_path / "report.md").write_text(text)
    assert embed_figures(tmp_path / "report.md") == text


def test_a_large_figure_is_shrunk(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "figure.png")
    uri = figure_uri(tmp_path / "figure.png")
    content = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    assert Image.open(io.BytesIO(content)).width == 1000
    assert len(content) < (tmp_path / "figure.png").stat().st_size / 4


def test_a_chart_is_embedded_as_svg(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "chart.png")
    (tmp_path / "chart.svg").write_text("<svg/>")
    assert figure_uri(tmp_path / "chart.png") == "data:image/svg+xml;base64,PHN2Zy8+"
