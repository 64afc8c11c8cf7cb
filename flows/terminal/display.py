"""What a run at a terminal shows: a line for each step; live where stderr is a terminal.

Live, the steps that run stand below the finished ones, and the coming stages below those. Elsewhere
only lines are printed: for finished steps, and now and then for a training.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.terminal.run_log import RunLog, logs_redirected
from tasks.reports.sections import describe_seconds
from tasks.steps.observer import Facts, Observer, StepLabel, StepProgress, observed_by

SHORTEST = 0.05
"""Seconds from which on a finished step is listed; one that has a number to tell always is."""
LINE_SECONDS = 10.0
"""Between two lines on one step where nothing is live."""
REFRESHES = 8
"""A second, of what is live."""
WIDTH = 100
"""Of the lines at most: on a wide terminal, the seconds would be far from what they belong to."""
STAGE_WIDTH, SUBJECT_WIDTH, BAR_WIDTH = 8, 8, 20
START = StepLabel("start")
"""What comes before the run: Prefect's server, and imports."""


class Marks(NamedTuple):
    """The first character of a line."""

    done: str
    failed: str
    stopped: str
    warning: str
    coming: str


MARKS = Marks("✓", "✗", "■", "!", "○")
ASCII_MARKS = Marks("+", "x", "#", "!", "-")
STYLES = Marks("green", "red", "yellow", "yellow", "dim")


@dataclass
class _Running:
    """A step that runs."""

    started: float
    printed: float
    """When a line on it was printed."""
    spinner: Spinner
    progress: StepProgress | None = None
    note: str = ""
    """The last line that the job logged meanwhile."""


class Display(Observer):
    """Prints what a run does."""

    def __init__(self, console: Console, stages: Sequence[str], log: RunLog) -> None:
        """Show nothing yet.

        Args:
            stages: those that people wait for, in their order.
            log: the run's own log file.
        """
        self._console, self._log = console, log
        self._stages = list(stages)
        self._running: dict[StepLabel, _Running] = {}
        self._lock = threading.RLock()
        ascii_only = console.options.ascii_only
        self._marks = ASCII_MARKS if ascii_only else MARKS
        self._spinner = "line" if ascii_only else "dots"
        self._live = Live(
            console=console,
            get_renderable=self._render,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show within what the steps of this process do."""
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        with observed_by(self):
            self.step_began(START)
            if is_live:
                with self._live, self._refreshed():
                    yield
            else:
                yield

    @contextmanager
    def _refreshed(self) -> Iterator[None]:
        """Draw what is live several times a second.

        Rich's own thread may draw while a line is being printed, over that line.
        """
        ended = threading.Event()

        def refresh() -> None:
            while not ended.wait(1 / REFRESHES):
                with self._lock:
                    self._live.refresh()

        thread = threading.Thread(target=refresh, name="display", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def run_began(self, run: str, name: str) -> None:
        """Print the run's name, and begin its log file."""
        with self._lock:
            self._log.open(run)
            self._print(Text(name, style="bold"))
            if start := self._running.get(START):
                self.step_ended(START, Facts("Prefect server"), time.monotonic() - start.started)

    def step_began(self, label: StepLabel) -> None:
        """Show it among the running steps."""
        with self._lock:
            now = time.monotonic()
            self._running[label] = _Running(now, now, Spinner(self._spinner))
            if label.stage in self._stages:
                del self._stages[: self._stages.index(label.stage) + 1]

    def step_progressed(self, label: StepLabel, progress: StepProgress) -> None:
        """Move its bar, or print a line if there was none for a while."""
        with self._lock:
            running = self._running.get(label)
            if running is None:
                return
            running.progress = progress
            now = time.monotonic()
            if not self._live.is_started and now - running.printed >= LINE_SECONDS:
                running.printed = now
                self._print(self._line(" ", label, progress.text, "", _time_left(progress)))

    def step_ended(self, label: StepLabel, facts: Facts, seconds: float) -> None:
        """Print its line."""
        with self._lock:
            self._running.pop(label, None)
            if seconds >= SHORTEST or facts.number:
                mark = self._mark("done")
                self._print(
                    self._line(mark, label, facts.text, facts.number, describe_seconds(seconds))
                )

    def step_failed(
        self, label: StepLabel, error: BaseException, seconds: float, again: bool
    ) -> None:
        """Print its line, with the reason if it is retried; otherwise that comes at the end."""
        with self._lock:
            self._running.pop(label, None)
            mark, text = "failed", "failed"
            if not isinstance(error, Exception):
                mark, text = "stopped", "interrupted"
            elif again:
                mark, text = "warning", f"{error}: trying again"
            self._print(self._line(self._mark(mark), label, text, "", describe_seconds(seconds)))

    def log(self, record: logging.LogRecord) -> None:
        """Print a warning; show another line beside the steps that run."""
        with self._lock:
            text = record.getMessage()
            if record.levelno >= logging.WARNING:
                row = Table.grid(padding=(0, 1), expand=True)
                row.add_column(width=1)
                row.add_column(ratio=1, overflow="fold")
                row.add_row(self._mark("warning"), Text(text.strip()))
                self._print(row)
                return
            for running in self._running.values():
                running.note = text.partition("\n")[0]

    def _mark(self, name: str) -> Text:
        return Text(getattr(self._marks, name), style=getattr(STYLES, name))

    def _print(self, line: RenderableType) -> None:
        self._console.print(line, width=self._width)

    @property
    def _width(self) -> int:
        return min(self._console.width, WIDTH)

    def _render(self) -> RenderableType:
        """What is live: the steps that run, and the coming stages."""
        lines = [self._running_line(*step) for step in self._running.items()]
        if self._stages:
            text = "  ".join(f"{self._marks.coming} {stage}" for stage in self._stages)
            lines.append(Text(text, style="dim"))
        return _Narrow(Group(*lines), self._width)

    def _running_line(self, label: StepLabel, running: _Running) -> RenderableType:
        progress = running.progress
        if progress is None:
            seconds = describe_seconds(time.monotonic() - running.started)
            note = Text(running.note, style="dim", no_wrap=True, overflow="ellipsis")
            return self._line(running.spinner, label, note, "", seconds)
        row = _grid()
        bar = ProgressBar(progress.total, progress.done, width=BAR_WIDTH)
        subject = label.subject or label.stage
        inner = Table.grid(padding=(0, 1))
        inner.add_row(Text(subject.ljust(SUBJECT_WIDTH - 1)), bar, Text(progress.text))
        row.add_row(running.spinner, Text(label.stage), inner, "", Text(_time_left(progress)))
        return row

    def _line(
        self, mark: Any, label: StepLabel, text: str | Text, number: str, seconds: str
    ) -> Table:
        subject = Text(label.subject.ljust(SUBJECT_WIDTH - 1) + " " if label.subject else "")
        words = subject + text if isinstance(text, Text) else Text(f"{subject}{text}")
        row = _grid()
        row.add_row(mark, Text(label.stage), words, Text(number), Text(seconds, style="dim"))
        return row


class _Narrow:
    """Something rendered no wider than `width`."""

    def __init__(self, content: RenderableType, width: int) -> None:
        self._content, self._width = content, width

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Any]:
        yield from console.render(self._content, options.update(width=self._width))


def _grid() -> Table:
    """A row: mark, stage, what it is about, the number, the seconds."""
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=1)
    row.add_column(width=STAGE_WIDTH, no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    row.add_column(justify="right", no_wrap=True)
    row.add_column(justify="right", no_wrap=True, min_width=4)
    return row


def _time_left(progress: StepProgress) -> str:
    left = progress.seconds_left
    return "" if left is None else f"{describe_seconds(left)} left"


@contextmanager
def display(stages: Sequence[str]) -> Iterator[RunLog]:
    """Show within what a run does, instead of Prefect's log, which goes to a file.

    Args:
        stages: those that people wait for, in their order.
    """
    log = RunLog()
    shown = Display(Console(stderr=True, highlight=False), stages, log)
    with logs_redirected(log, shown.log), shown.shown():
        yield log
