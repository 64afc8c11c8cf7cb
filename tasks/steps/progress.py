"""Progress of a training: told to the observer, logged now and then, an artifact in the UI."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.models.checkpoints import Progress as TrainingProgress
from tasks.reports.sections import describe_seconds
from tasks.steps.observer import StepProgress, observer
from tasks.steps.prefect_artifacts import artifact_key, failures_logged
from tasks.steps.step import current_label

logger = logging.getLogger(__name__)

Report = Callable[[TrainingProgress], None]
LINE_SECONDS = 10
"""Between two log lines."""
ARTIFACT_SECONDS = 3.0
"""Between two updates of an artifact."""


@contextmanager
def show_progress(model: str) -> Iterator[Report]:
    """Give a function that shows the progress of a model's training, wherever a person may look."""
    tell, log = tell_progress(), log_progress(f"{model} model")
    with progress_artifact(model) as update:

        def report(progress: TrainingProgress) -> None:
            tell(progress)
            log(progress)
            update(progress)

        yield report


class TimeLeft:
    """Estimates the time left of a training from the steps since the first call.

    Those before it may have been made by an earlier process, or while the model was compiled.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._first: tuple[float, int] | None = None

    def estimate(self, progress: TrainingProgress) -> float | None:
        """Seconds; none while nothing is known, and at the end."""
        now, rest = time.monotonic(), progress.steps - progress.steps_done
        self._first = self._first or (now, progress.steps_done)
        made = progress.steps_done - self._first[1]
        return (now - self._first[0]) * rest / made if made and rest else None


def tell_progress() -> Report:
    """Give a function that tells the observer how far the present step has come.

    To be called in the step's own thread; the function may be called in any.
    """
    watching, label, time_left = observer(), current_label(), TimeLeft()

    def report(progress: TrainingProgress) -> None:
        seconds = time_left.estimate(progress)
        text = describe_progress(progress)
        step = StepProgress(progress.steps_done, progress.steps, text, seconds)
        watching.step_progressed(label, step)

    return report


def log_progress(model: str) -> Report:
    """Give a function that logs the training's progress every few seconds and at the end."""
    last, time_left = time.monotonic(), TimeLeft()

    def report(progress: TrainingProgress) -> None:
        nonlocal last
        now, seconds = time.monotonic(), time_left.estimate(progress)
        if now - last < LINE_SECONDS and progress.steps_done < progress.steps:
            return
        last = now
        rest = "" if seconds is None else f", {describe_seconds(seconds)} left"
        logger.info("%s: %s%s", model, describe_progress(progress), rest)

    return report


@contextmanager
def progress_artifact(model: str) -> Iterator[Report]:
    """Give a function that shows the training's progress in the UI every few seconds.

    A thread calls the API: where that is slow, updates are late, and the training is not.
    """
    latest: tuple[TrainingProgress, float | None] | None = None
    ended, time_left = threading.Event(), TimeLeft()

    def report(progress: TrainingProgress) -> None:
        nonlocal latest
        latest = progress, time_left.estimate(progress)

    def update() -> None:
        artifact, is_last = None, False
        while not is_last:
            is_last = ended.wait(ARTIFACT_SECONDS)
            if latest:
                with failures_logged("the training's progress"):
                    artifact = _update_artifact(artifact, model, *latest)

    # The context carries the Prefect run that the artifact belongs to.
    threading.Thread(target=copy_context().run, args=(update,), name="progress").start()
    try:
        yield report
    finally:
        ended.set()


def _update_artifact(
    artifact: UUID | None, model: str, progress: TrainingProgress, seconds_left: float | None
) -> UUID:
    """Update an artifact, or create it if there is none; return its id."""
    percent = 100 * progress.steps_done / progress.steps
    rest = "" if seconds_left is None else f", {describe_seconds(seconds_left)} left"
    text = f"{model.capitalize()} model, {percent:.0f} %: {describe_progress(progress)}{rest}"
    if artifact:
        update_progress_artifact(artifact, percent, text)
        return artifact
    created = create_progress_artifact(percent, artifact_key("training", model), text)
    return UUID(str(created))  # typed as a coroutine too, which it is not here


def describe_progress(progress: TrainingProgress) -> str:
    """The epoch under way, and the validation loss of the last finished one."""
    epoch = min(progress.epochs_done + 1, progress.epochs)
    text = f"epoch {epoch} of {progress.epochs}"
    return f"{text}, loss {progress.history[-1].validation_loss:.4f}" if progress.history else text
