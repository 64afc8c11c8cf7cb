"""Progress of a training on the terminal: a live bar, or a line now and then."""

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
"""Between two lines."""


@contextmanager
def show_progress(spec: TrainingSpec) -> Iterator[Report]:
    """Give a function that shows the training's progress on the terminal or in the log."""
    console = log_console()
    if console.is_terminal:
        with _live_bar(spec.architecture.name, console) as report:
            yield report
    else:
        yield log_progress(f"{spec.architecture.name} model")


def log_console() -> Console:
    """The console Prefect logs to: log lines then scroll above a live bar, not through it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            return handler.console
    return Console(stderr=True)


@contextmanager
def _live_bar(name: str, console: Console) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[epoch]}"),
        TimeRemainingColumn(compact=True),
    )
    # Prefect's console only has Prefect's styles; the bar needs Rich's own.
    with console.use_theme(Theme()), Progress(*columns, console=console) as bar:
        row = bar.add_task(f"{name} model", total=None, epoch="")

        def report(progress: TrainingProgress) -> None:
            bar.update(
                row,
                total=progress.steps,
                completed=progress.steps_done,
                epoch=describe_progress(progress),
            )

        yield report


def log_progress(model: str) -> Report:
    """Give a function that logs the training's progress every few seconds and at the end."""
    started = last = time.monotonic()

    def report(progress: TrainingProgress) -> None:
        nonlocal last
        now = time.monotonic()
        finished = progress.steps_done == progress.steps
        if now - last < LINE_SECONDS and not finished:
            return
        last = now
        left = (now - started) * (progress.steps / progress.steps_done - 1)
        rest = "" if finished else f", {_duration(left)} left"
        logger.info("%s: %s%s", model, describe_progress(progress), rest)

    return report


def describe_progress(progress: TrainingProgress) -> str:
    """The epoch under way and the losses of the last finished one."""
    epoch = min(progress.epochs_done + 1, progress.epochs)
    text = f"epoch {epoch} of {progress.epochs}"
    if not progress.history:
        return text
    last = progress.history[-1]
    return f"{text}, loss {last.loss:.4f}, validation loss {last.validation_loss:.4f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
