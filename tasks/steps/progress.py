"""Progress of a training: a live bar or log lines at the terminal, an artifact in the UI."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.theme import Theme

from tasks.models.checkpoints import Progress as TrainingProgress
from tasks.steps.prefect_artifacts import artifact_key, failures_logged

logger = logging.getLogger(__name__)

Report = Callable[[TrainingProgress], None]
LINE_SECONDS = 10
"""Between two log lines."""
ARTIFACT_SECONDS = 3.0
"""Between two updates of an artifact."""


@contextmanager
def show_progress(model: str) -> Iterator[Report]:
    """Give a function that shows the progress of a model's training, wherever a person may look."""
    with terminal_progress(model) as show, progress_artifact(model) as update:

        def report(progress: TrainingProgress) -> None:
            show(progress)
            update(progress)

        yield report


@contextmanager
def terminal_progress(model: str) -> Iterator[Report]:
    """Give a function that moves a live bar, or logs lines where there is no terminal."""
    console = log_console()
    if not console.is_terminal:
        yield log_progress(f"{model} model")
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(compact=True),
    )
    # Prefect's console only has Prefect's styles; the bar needs Rich's own.
    with console.use_theme(Theme()), Progress(*columns, console=console) as bar:
        row = bar.add_task(f"{model} model", total=None, text="")

        def report(progress: TrainingProgress) -> None:
            steps, text = progress.steps_done, describe_progress(progress)
            bar.update(row, total=progress.steps, completed=steps, text=text)

        yield report


def log_console() -> Console:
    """The console Prefect logs to: log lines then scroll above a live bar, not through it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            return handler.console
    return Console(stderr=True)


def log_progress(model: str) -> Report:
    """Give a function that logs the training's progress every few seconds and at the end.

    The time left is computed from the steps since its first call: those before it may have been
    made by an earlier process, or while the model was compiled.
    """
    last = time.monotonic()
    first: tuple[float, int] | None = None

    def report(progress: TrainingProgress) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = first or (now, progress.steps_done)
        finished = progress.steps_done == progress.steps
        if now - last < LINE_SECONDS and not finished:
            return
        last = now
        rest, made = "", progress.steps_done - first[1]
        if made and not finished:
            left = (now - first[0]) * (progress.steps - progress.steps_done) / made
            rest = f", {_duration(left)} left"
        logger.info("%s: %s%s", model, describe_progress(progress), rest)

    return report


@contextmanager
def progress_artifact(model: str) -> Iterator[Report]:
    """Give a function that shows the training's progress in the UI every few seconds.

    A thread calls the API: where that is slow, updates are late, and the training is not.
    """
    latest: TrainingProgress | None = None
    ended = threading.Event()

    def report(progress: TrainingProgress) -> None:
        nonlocal latest
        latest = progress

    def update() -> None:
        artifact, is_last = None, False
        while not is_last:
            is_last = ended.wait(ARTIFACT_SECONDS)
            if latest:
                with failures_logged("the training's progress"):
                    artifact = _update_artifact(artifact, model, latest)

    # The context carries the Prefect run that the artifact belongs to.
    threading.Thread(target=copy_context().run, args=(update,), name="progress").start()
    try:
        yield report
    finally:
        ended.set()


def _update_artifact(artifact: UUID | None, model: str, progress: TrainingProgress) -> UUID:
    """Update an artifact, or create it if there is none; return its id."""
    percent = 100 * progress.steps_done / progress.steps
    text = f"{model} model: {describe_progress(progress)}"
    if artifact:
        update_progress_artifact(artifact, percent, text)
        return artifact
    created = create_progress_artifact(percent, artifact_key("training", model), text)
    return UUID(str(created))  # typed as a coroutine too, which it is not here


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
