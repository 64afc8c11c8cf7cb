"""What a run shows in the Prefect UI when it has ended: report, metrics, figures.

If Prefect's API fails, a warning is logged and the run goes on.
"""

import io
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from tasks.core.cores import usable_cores
from tasks.core.records import FigureRecord
from tasks.evaluation.records import Metrics, Probes
from tasks.reports.history.page import render_history, write_page
from tasks.reports.report import encode_uri

logger = logging.getLogger(__name__)

THUMBNAIL_BYTES = 200_000
"""Largest data URI of a figure."""
THUMBNAIL_WIDTHS = (1000, 800, 600, 400, 200)
PICTURE = re.compile(r"^!\[.*\n+", re.MULTILINE)
"""A line of markdown that shows a file. The UI cannot open files; it has artifacts instead."""


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
    name: str,
    title: str,
    report: Path,
    figures: Iterable[FigureRecord],
    metrics: dict[str, Metrics] | None = None,
) -> None:
    """Show the report, the figures and the metrics of a finished run or sweep.

    Args:
        name: ends or begins the artifacts' keys: `report-<name>`, `<name>-<figure>`.
        report: the markdown file, in the folder to which the figures' paths are relative.
        metrics: by model.
    """
    with failures_logged("the results"):
        text = PICTURE.sub("", report.read_text())
        create_markdown_artifact(text, artifact_key("report", name), title)
        if metrics:
            table, key = _metrics_table(metrics), artifact_key("metrics", name)
            create_table_artifact(table, key, "Metrics on the test images")
        figures = list(figures)
        paths = [report.parent / figure.path for figure in figures]
        with ThreadPoolExecutor(usable_cores()) as executor:
            for figure, path, uri in zip(
                figures, paths, executor.map(thumbnail, paths), strict=True
            ):
                create_image_artifact(uri, artifact_key(name, path.stem), figure.text)


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
            "loss (nats per pixel)": round(found.validation_loss, 4),
            "above the floor": round(found.excess_loss, 4),
            "mean squared error": round(found.reconstruction_mse, 5),
            "PCA error": round(found.pca_mse, 5),
            "structural similarity": round(found.ssim, 3),
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


def thumbnail(path: Path) -> str:
    """A figure as a data URI of at most `THUMBNAIL_BYTES`: as wide as fits, in 256 colours."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    for width in THUMBNAIL_WIDTHS:
        small.thumbnail((width, 10 * width))
        content = io.BytesIO()
        small.quantize().save(content, "PNG")  # optimized, a fiftieth smaller in twice the time
        uri = encode_uri(content.getvalue(), "image/png")
        if len(uri) <= THUMBNAIL_BYTES:
            break
    return uri
