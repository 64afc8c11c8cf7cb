"""Progress of a training for the person who watches: a live bar, or plain lines."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.theme import Theme

from tasks.models.spec import TrainingSpec
from tasks.models.state import Progress as TrainingProgress

logger = logging.getLogger(__name__)

Report = Callable[[TrainingProgress], None]
LINE_SECONDS = 10
"""Between two plain lines."""


@contextmanager
def show_progress(spec: TrainingSpec) -> Iterator[Report]:
    """Give a function to call with the training's progress; it draws or logs it."""
    console = log_console()
    if console.is_terminal:
        with _live_bar(spec.architecture.name, console) as report:
            yield report
    else:
        yield log_progress(spec.architecture.name)


def log_console() -> Console:
    """The console Prefect logs to: log lines then scroll above a live bar instead of through it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            return handler.console
    return Console(stderr=True)


@contextmanager
def _live_bar(name: str, console: Console) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epochs]}  {task.fields[losses]}"),
        TimeRemainingColumn(compact=True),
    )
    # Prefect's console knows its own styles alone.
    with console.use_theme(Theme()), Progress(*columns, console=console) as bar:
        row = bar.add_task(f"{name} model", total=None, epochs="", losses="")

        def report(progress: TrainingProgress) -> None:
            bar.update(
                row,
                total=progress.steps,
                completed=progress.steps_done,
                epochs=f"{progress.epochs_done}/{progress.epochs}",
                losses=_losses(progress),
            )

        yield report


def log_progress(name: str) -> Report:
    """Give a function to call with the training's progress; it logs a line now and then."""
    started = last = time.monotonic()

    def report(progress: TrainingProgress) -> None:
        nonlocal last
        now = time.monotonic()
        finished = progress.steps_done == progress.steps
        if now - last < LINE_SECONDS and not finished:
            return
        last = now
        left = (now - started) * (progress.steps / progress.steps_done - 1)
        logger.info(
            "%s model: epoch %d/%d, %s, about %.0f s left",
            name,
            progress.epochs_done,
            progress.epochs,
            _losses(progress),
            left,
        )

    return report


def _losses(progress: TrainingProgress) -> str:
    if not progress.history:
        return "loss -"
    last = progress.history[-1]
    return f"loss {last.loss:.4f}  validation loss {last.validation_loss:.4f}"
