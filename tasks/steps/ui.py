"""What a run shows in the Prefect UI: progress that moves, the report, figures, metrics.

All of it is for people to look at. If the API cannot be reached, a line is logged and the run goes
on; a training never waits for it.
"""

import io
import logging
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tasks.models.state import Progress
from tasks.runs.manifest import Manifest
from tasks.sweeps.records import CHART_FILE, MARKDOWN_FILE, Sweep, summarize

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 3.0
"""Between two updates of a progress artifact."""
THUMBNAIL_BYTES = 200_000
"""Largest data URI of a figure."""
THUMBNAIL_WIDTHS = (1000, 800, 600, 400, 200)
PICTURE = re.compile(r"^!\[.*\n+", re.MULTILINE)
"""A line of markdown that shows a file; the UI has no files, the figures are artifacts there."""


@contextmanager
def failures_logged(what: str) -> Iterator[None]:
    """Whatever Prefect's API does, it must not fail a run whose work is done."""
    try:
        yield
    except Exception as error:  # the client raises many types, and passes others' on
        logger.warning("Prefect was not told %s: %s: %s", what, type(error).__name__, error)


@contextmanager
def progress_artifact(model: str) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a training's progress in the UI, now and then, in a thread.

    An update that hangs delays the next one, never the training.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="progress")
    shown = _ShownProgress(model)
    pending: Future[None] | None = None
    latest: Progress | None = None
    last = -PROGRESS_SECONDS

    def report(progress: Progress) -> None:
        nonlocal pending, latest, last
        latest = progress
        due = time.monotonic() - last >= PROGRESS_SECONDS
        if due and (pending is None or pending.done()):
            last = time.monotonic()
            pending = executor.submit(copy_context().run, shown.update, progress)

    try:
        yield report
    finally:
        if latest:
            executor.submit(copy_context().run, shown.update, latest)
        executor.shutdown(wait=False)


class _ShownProgress:
    """One progress artifact."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id: UUID | None = None

    def update(self, progress: Progress) -> None:
        """Create it or move it on."""
        percent = 100 * progress.steps_done / progress.steps
        text = f"{self._model} model: epoch {progress.epochs_done} of {progress.epochs}"
        if progress.history:
            text += f", validation loss {progress.history[-1].validation_loss:.4f}"
        with failures_logged("about the training's progress"):
            if self._id is None:
                key = f"training-{self._model.replace('_', '-')}"
                self._id = _as_id(create_progress_artifact(percent, key, text))
            else:
                update_progress_artifact(self._id, percent, text)


def _as_id(created: Any) -> UUID:
    """Prefect types its functions for both worlds; in this one they are synchronous."""
    return UUID(str(created))


def show_run(manifest: Manifest, folder: Path, report: str) -> None:
    """Show a finished run: its report, its metrics as a table, its figures.

    Args:
        folder: of the run.
        report: as markdown.
    """
    name = manifest.dataset.name
    with failures_logged("about the results"):
        text = PICTURE.sub("", report)
        create_markdown_artifact(text, f"report-{name}", f"Run {manifest.run}")
        create_table_artifact(_metrics_table(manifest), f"metrics-{name}", "Test images")
        for figure in manifest.figures:
            path = folder / figure.path
            create_image_artifact(thumbnail(path), f"{name}-{_key(path)}", figure.text)


def _key(path: Path) -> str:
    return path.stem.replace("_", "-")


def _metrics_table(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "loss (nats per pixel)": round(found.validation_loss, 4),
            "above the floor": round(found.excess_loss, 4),
            "mean squared error": round(found.reconstruction_mse, 5),
            "PCA's": round(found.pca_mse, 5),
            "structural similarity": round(found.ssim, 3),
            "live units": f"{found.live_units} of {found.code_size}",
        }
        for name, found in manifest.metrics.items()
    ]


def show_sweep(sweep: Sweep, folder: Path) -> None:
    """Show a finished sweep: its table, and its chart.

    Args:
        folder: of the sweep.
    """
    key = f"sweep-{sweep.dataset.name}"
    with failures_logged("about the results"):
        text = (folder / MARKDOWN_FILE).read_text()
        create_markdown_artifact(text, f"{key}-report", f"Sweep {sweep.run}")
        create_table_artifact(_sweep_table(sweep), key, "Test images")
        create_image_artifact(thumbnail(folder / CHART_FILE), f"{key}-chart", "Loss by code size")


def _sweep_table(sweep: Sweep) -> list[dict[str, Any]]:
    return [
        {
            "architecture": one.architecture,
            "code size": one.code_size,
            "seeds": len(one.losses),
            "loss (nats per pixel)": round(one.loss, 4),
            "mean squared error": round(one.error, 5),
            "PCA's": round(sweep.pca_error(one.code_size), 5),
        }
        for one in summarize(sweep.points)
    ]


def thumbnail(path: Path) -> str:
    """A figure as a data URI of at most `THUMBNAIL_BYTES`: as wide as fits, 256 colours."""
    with Image.open(path) as picture:
        for width in THUMBNAIL_WIDTHS:
            small = picture.convert("RGB")
            small.thumbnail((width, 10 * width))
            content = io.BytesIO()
            small.quantize().save(content, "PNG", optimize=True)
            uri = f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"
            if len(uri) <= THUMBNAIL_BYTES:
                break
    return uri
