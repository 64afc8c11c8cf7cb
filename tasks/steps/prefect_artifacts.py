"""What a run shows in the Prefect UI when it has ended: the report with its figures, and metrics.

If Prefect's API fails, a warning is logged and the run goes on.
"""

import io
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.core.cores import usable_cores
from tasks.evaluation.records import Metrics, Probes
from tasks.reports.history.page import render_history, write_page
from tasks.reports.report import encode_uri

logger = logging.getLogger(__name__)

PICTURE = re.compile(r"^(!\[.*\]\()(figures/[\w.-]+)(\))$", re.MULTILINE)
"""A line of markdown that shows a figure; the second group is its file."""
PICTURE_WIDTH, PICTURE_QUALITY = 1000, 80
"""Of figures in the UI, pixels and per cent; the run's folder has them as they were drawn."""


@contextmanager
def failures_logged(what: str) -> Iterator[None]:
    """Log whatever Prefect's API raises, so that it cannot fail a run whose work is done."""
    try:
        yield
    except Exception as error:  # Prefect's client raises errors of many libraries
        logger.warning("Could not show %s in Prefect: %s: %s", what, type(error).__name__, error)


def artifact_key(*words: str) -> str:
    """A key of an artifact: Prefect allows lower-case letters, digits and dashes."""
    return "-".join(words).replace("_", "-")


def show_results(
    name: str, title: str, report: Path, metrics: dict[str, Metrics] | None = None
) -> None:
    """Show the report, with its figures, and the metrics of a finished run or sweep.

    Args:
        name: ends the artifacts' keys: `report-<name>`, `metrics-<name>`.
        title: all that is shown of the report in a list.
        report: the markdown file, in the folder to which the figures' paths are relative.
        metrics: by model.
    """
    with failures_logged("the results"):
        create_markdown_artifact(embed_figures(report), artifact_key("report", name), title)
        if metrics:
            table, key = _metrics_table(metrics), artifact_key("metrics", name)
            create_table_artifact(table, key, "Metrics on the test images")


def embed_figures(report: Path) -> str:
    """The text of a markdown file with its figures in it: the UI cannot open files."""
    text, folder = report.read_text(), report.parent
    names = [found[2] for found in PICTURE.finditer(text)]
    with ThreadPoolExecutor(usable_cores()) as executor:
        uris = dict(
            zip(names, executor.map(figure_uri, [folder / name for name in names]), strict=True)
        )
    return PICTURE.sub(lambda found: f"{found[1]}{uris[found[2]]}{found[3]}", text)


def show_history(dataset: str, root: Path) -> None:
    """Bring the page of all runs and its table in Prefect up to date."""
    write_page(root)
    with failures_logged("all runs"):
        text = render_history(dataset, root)
        create_markdown_artifact(text, artifact_key("history", dataset), f"All runs of {dataset}")


def show_text(text: str, key: str, title: str) -> None:
    """Show markdown."""
    with failures_logged("the results"):
        create_markdown_artifact(text, artifact_key(key), title)


def _metrics_table(metrics: dict[str, Metrics]) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            **_accuracies(found.probes),
            "effective dimension": f"{found.effective_dimension:.1f} of {found.code_size}",
            "loss (nats per pixel)": f"{found.validation_loss:.4f}",
            "above the floor": f"{found.excess_loss:.4f}",
            "mean squared error": f"{found.reconstruction_mse:.5f}",
            "PCA error": f"{found.pca_mse:.5f}",
            "structural similarity": f"{found.ssim:.3f}",
            "live units": f"{found.live_units} of {found.code_size}",
        }
        for name, found in metrics.items()
    ]


def _accuracies(probes: Probes | None) -> dict[str, str]:
    if probes is None:
        return {}
    return {
        "five neighbours": f"{probes.nearest_5:.2%}",
        "nearest neighbour": f"{probes.nearest_1:.2%}",
        "linear probe": f"{probes.linear:.2%}",
    }


def figure_uri(path: Path) -> str:
    """A figure as a data URI: as SVG where there is one, which charts have, else as small WebP."""
    vector = path.with_suffix(".svg")
    if vector.exists():
        return encode_uri(vector.read_bytes(), "image/svg+xml")
    content = io.BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 10 * PICTURE_WIDTH))
    small.save(content, "WEBP", quality=PICTURE_QUALITY)
    return encode_uri(content.getvalue(), "image/webp")
