"""The log of a run at a terminal: a file of its own, `logs/<run>.log` in the artifacts folder.

The run's folder does not hold it: that never changes once the run is published, and a run that
fails leaves none.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import MemoryHandler
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler

from tasks.core.errors import StepError
from tasks.core.storage import make_folder, prepare_artifacts_folder, share

KEPT = 50
"""Log files that are kept, the newest."""
MOST_LINES = 10_000
"""Kept in memory until the file is known."""
FORMAT = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(name)s - %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S"
OF_PREFECT = ("prefect.flow_runs", "prefect.task_runs")
"""What they log of a failure, the display and the last line say too."""


class RunLog(MemoryHandler):
    """Holds the lines back until the run is known, then writes them to its file."""

    def __init__(self) -> None:
        """Hold everything back."""
        super().__init__(MOST_LINES, flushLevel=logging.CRITICAL + 1)
        self.path: Path | None = None
        """Of the file, once it is open."""

    def shouldFlush(self, record: logging.LogRecord) -> bool:  # noqa: N802, ARG002 - logging's names
        """Write each line at once, if the file is known."""
        return self.target is not None or len(self.buffer) >= self.capacity

    def open(self, run: str) -> None:
        """Begin the file of a run; delete old ones. A run goes on without a log if that fails."""
        with suppress(OSError, StepError):
            path = prepare_artifacts_folder() / "logs" / f"{run}.log"
            make_folder(path.parent)
            file = _QuietFile(path, encoding="utf-8")
            file.setFormatter(logging.Formatter(FORMAT, TIME))
            share(path)
            self.setTarget(file)
            self.path = path
            self.flush()
            _delete_old(path.parent)

    def close(self) -> None:
        """Close the file."""
        target, self.target = self.target, None
        if target:
            target.close()
        super().close()


class _QuietFile(logging.FileHandler):
    """A full disk costs log lines, and shows no traceback for each."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Go on without this line."""


def _delete_old(folder: Path) -> None:
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    for path in logs[:-KEPT]:
        path.unlink(missing_ok=True)


class _Shown(logging.Handler):
    """Hands the lines that people should see to the display."""

    def __init__(self, show: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.startswith(("flows.", "tasks."))
        if record.name.startswith(OF_PREFECT):
            return
        if record.levelno >= logging.WARNING or is_ours:
            self._show(record)


@contextmanager
def logs_redirected(log: RunLog, show: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Send what Prefect would print to a run's log instead, and show people the rest."""
    replaced = list(_console_handlers())
    shown = _Shown(show)
    for logger, console in replaced:
        logger.removeHandler(console)
        logger.addHandler(log)
        logger.addHandler(shown)
    try:
        yield
    finally:
        for logger, console in replaced:
            logger.removeHandler(log)
            logger.removeHandler(shown)
            logger.addHandler(console)
        log.close()


def _console_handlers() -> Iterator[tuple[logging.Logger, logging.Handler]]:
    names = [None, *logging.Logger.manager.loggerDict]
    for logger in map(logging.getLogger, names):
        for handler in list(logger.handlers):
            if isinstance(handler, PrefectConsoleHandler):
                yield logger, handler
