from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tasks.steps.sweep import show_sweep
from tests.sweeping import SWEEP


@flow
def showing(folder: Path) -> str:
    show_sweep(SWEEP, folder)
    return str(flow_run.get_id())


@pytest.mark.usefixtures("prefect_server")
def test_a_sweep_is_shown_with_report_and_chart(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "sweep.md").write_text("# A sweep\n\n![A chart](figures/a.png)\n")
    Image.new("RGB", (30, 20)).save(tmp_path / "figures" / "loss-by-code-size.png")
    wanted = {"artifacts": {"flow_run_id": {"any_": [showing(tmp_path)]}}}
    with get_client(sync_client=True) as client:
        found: list[dict[str, Any]] = client.request(
            "POST", "/artifacts/filter", json=wanted
        ).json()
    shown = {artifact["key"]: artifact for artifact in found}
    assert set(shown) == {"sweep-mine-report", "sweep-mine-chart"}
    assert shown["sweep-mine-report"]["data"] == "# A sweep\n\n"
    assert shown["sweep-mine-chart"]["data"].startswith("data:image/png;base64,")
