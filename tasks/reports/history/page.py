"""Write the page of all runs: `index.html` in the artifacts folder."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.storage import write_bytes
from tasks.reports.history import timeline
from tasks.reports.history.events import list_datasets, read_history
from tasks.reports.history.timeline import draw_timelines
from tasks.reports.report import render

logger = logging.getLogger(__name__)

PAGE_FILE = "index.html"
PAGE_LOCK = "index"
NEWEST = 20
"""Events in Prefect's table; the page has all."""


def write_page(root: Path) -> None:
    """Write the page anew from the journals of all datasets.

    A failure is logged: the results that the page is about are complete.
    """
    try:
        with lock(PAGE_LOCK, root):  # a slower process would write what it read earlier
            write_bytes(root / PAGE_FILE, render_page(root).encode())
    except (OSError, StepError) as error:
        logger.warning("%s was not written: %s", PAGE_FILE, error)


def render_page(root: Path) -> str:
    """The page, as one HTML file without scripts.

    Raises:
        StepError: a journal is damaged.
    """
    histories = [read_history(dataset, root) for dataset in list_datasets(root)]
    content = {
        "histories": histories,
        "charts": {history.dataset: draw_timelines(history) for history in histories},
        "area": timeline,
        "written": datetime.now(UTC),
    }
    return render("index.html.j2", content)


def render_history(dataset: str, root: Path) -> str:
    """The newest events of a dataset as markdown.

    Raises:
        StepError: its journal is damaged.
    """
    history = read_history(dataset, root)
    content = {"history": history, "events": history.events[:NEWEST]}
    return render("history.md.j2", content)
