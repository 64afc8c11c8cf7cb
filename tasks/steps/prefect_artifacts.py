"""What a run shows in the Prefect UI: progress, the report, metrics, figures.

If Prefect's API fails, a warning is logged and the run goes on; a training never waits for it.
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
from tasks.steps.progress import describe_progress

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 3.0
"""Between two updates of a progress artifact."""
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


@contextmanager
def progress_artifact(model: str) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a training's progress in the UI every few seconds."""
    artifact = _ProgressArtifact(model)
    try:
        yield artifact.report
    finally:
        artifact.close()


class _ProgressArtifact:
    """A progress artifact that a thread updates: a slow API delays updates, not the training."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="progress")
        self._id: UUID | None = None
        self._update: Future[None] | None = None
        self._latest: Progress | None = None
        self._last = -PROGRESS_SECONDS

    def report(self, progress: Progress) -> None:
        """Update the artifact if that is due and the last update has ended."""
        self._latest = progress
        due = time.monotonic() - self._last >= PROGRESS_SECONDS
        if due and (self._update is None or self._update.done()):
            self._last = time.monotonic()
            self._submit(progress)

    def close(self) -> None:
        """Show the latest progress, without waiting for it."""
        if self._latest:
            self._submit(self._latest)
        self._executor.shutdown(wait=False)

    def _submit(self, progress: Progress) -> None:
        # The context carries the Prefect run that the artifact belongs to.
        self._update = self._executor.submit(copy_context().run, self._show, progress)

    def _show(self, progress: Progress) -> None:
        percent = 100 * progress.steps_done / progress.steps
        text = f"{self._model} model: {describe_progress(progress)}"
        with failures_logged("the training's progress"):
            if self._id is None:
                created = create_progress_artifact(percent, _key("training", self._model), text)
                self._id = UUID(str(created))  # typed as a coroutine too, which it is not here
            else:
                update_progress_artifact(self._id, percent, text)


def show_run(manifest: Manifest, folder: Path, report: str) -> None:
    """Show the report, the metrics and the figures of a finished run.

    Args:
        folder: of the run.
        report: as markdown.
    """
    name = manifest.dataset.name
    with failures_logged("the results"):
        create_markdown_artifact(PICTURE.sub("", report), f"report-{name}", f"Run {manifest.run}")
        table = _metrics_table(manifest)
        create_table_artifact(table, f"metrics-{name}", "Metrics on the test images")
        for figure in manifest.figures:
            path = folder / figure.path
            create_image_artifact(thumbnail(path), _key(name, path.stem), figure.text)


def _key(*words: str) -> str:
    """A key of an artifact: Prefect allows lower-case letters, digits and dashes."""
    return "-".join(words).replace("_", "-")


def _metrics_table(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "loss (nats per pixel)": round(metrics.validation_loss, 4),
            "above the floor": round(metrics.excess_loss, 4),
            "mean squared error": round(metrics.reconstruction_mse, 5),
            "PCA error": round(metrics.pca_mse, 5),
            "structural similarity": round(metrics.ssim, 3),
            "live units": f"{metrics.live_units} of {metrics.code_size}",
        }
        for name, metrics in manifest.metrics.items()
    ]


def thumbnail(path: Path) -> str:
    """A figure as a data URI of at most `THUMBNAIL_BYTES`: as wide as fits, in 256 colours."""
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
