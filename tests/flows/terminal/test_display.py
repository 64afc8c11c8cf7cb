import io
import logging
import re
import time
from collections.abc import Iterator

import pytest
from rich.console import Console, RenderableType

from flows.terminal import display as display_module
from flows.terminal.display import Display, display
from flows.terminal.run_log import RunLog
from tasks.core.errors import StepError
from tasks.steps.observer import Facts, StepLabel, StepProgress, observer

TRAIN = StepLabel("train", "deep")
MIDDLE = StepProgress(62, 100, "epoch 31 of 50, loss 0.2733", 18.0)


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def plain(screen: io.StringIO, width: int = 80) -> Display:
    """A display where nothing is live."""
    console = Console(file=screen, width=width, force_terminal=False)
    return Display(console, ("dataset", "train", "publish"), RunLog())


def drawn(shown: Display) -> str:
    """What would be live now."""
    console = Console(file=io.StringIO(), width=80)
    console.print(shown._render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_finished_step_is_a_line_with_its_number_and_its_seconds(screen: io.StringIO) -> None:
    shown = plain(screen)
    layers = "784-128-64-32-64-128-784, 222,384 parameters"
    shown.step_ended(TRAIN, Facts(layers, "loss 0.2681"), 51.2)
    (line,) = screen.getvalue().splitlines()
    assert line == f"✓ train    deep    {layers} loss 0.2681 51 s"
    assert len(line) == 80


def test_what_takes_no_time_and_has_nothing_to_tell_is_not_listed(screen: io.StringIO) -> None:
    shown = plain(screen)
    shown.step_ended(StepLabel("device"), Facts(), 0.04)
    assert not screen.getvalue()
    shown.step_ended(StepLabel("device"), Facts(), 0.06)
    assert "device" in screen.getvalue()


def on_screen(output: str) -> list[str]:
    """The lines that a terminal shows after what was written to it: it moves up and erases."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|\x1b\[\?\d+[hl]|[\r\n]|[^\x1b\r\n]+", output):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part[0] not in "\r\x1b":
            lines[row] += part
    return lines


def test_no_line_is_lost_while_the_screen_is_drawn(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, a line takes so long that much else is drawn meanwhile."""

    class Slow:
        def __init__(self, line: RenderableType) -> None:
            self.line = line

        def __rich_console__(self, *_: object) -> Iterator[RenderableType]:
            time.sleep(0.01)
            yield self.line

    monkeypatch.setattr(display_module, "REFRESHES", 500)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    shown = Display(console, ("dataset", "train", "publish"), RunLog())
    shown._print = lambda line: console.print(Slow(line))  # type: ignore[method-assign]
    with shown.shown():
        for number in range(20):
            shown.step_began(TRAIN)
            shown.step_ended(TRAIN, Facts(f"number {number}", "loss 0.2681"), 1)
    lines = filter(None, on_screen(screen.getvalue()))
    assert [line.split()[:4] for line in lines] == [
        ["✓", "train", "deep", "number"] for _ in range(20)
    ]


def test_lines_are_no_wider_than_100_columns(screen: io.StringIO) -> None:
    plain(screen, 140).step_ended(TRAIN, Facts("x", "loss 0.2681"), 51)
    assert len(screen.getvalue().rstrip("\n")) == 100


def test_the_running_step_and_the_coming_ones_are_live(screen: io.StringIO) -> None:
    shown = plain(screen)
    shown.step_began(StepLabel("dataset"))
    assert "○ train  ○ publish" in drawn(shown)
    shown.step_ended(StepLabel("dataset"), Facts(), 1)
    shown.step_began(TRAIN)
    waiting, coming = drawn(shown).splitlines()
    assert waiting.split()[1:] == ["train", "deep", "<1", "s"]
    assert coming.rstrip() == "○ publish"
    shown.step_progressed(TRAIN, MIDDLE)
    moving = drawn(shown).splitlines()[0].rstrip()
    assert "━━━" in moving
    assert moving.endswith("epoch 31 of 50, loss 0.2733    18 s left")
    shown.step_ended(TRAIN, Facts(), 1)
    assert "train" not in drawn(shown)


def test_a_silent_step_shows_what_the_job_logged_last(screen: io.StringIO) -> None:
    shown = plain(screen)
    shown.step_began(TRAIN)
    shown.log(logging.LogRecord("tasks.x", logging.INFO, "", 0, "Compiling\nmore", (), None))
    assert "deep    Compiling " in drawn(shown)
    assert not screen.getvalue()


def test_a_long_warning_is_shown_whole(screen: io.StringIO) -> None:
    text = " ".join(f"/data/boots/picture-{number}.png is damaged," for number in range(10))
    plain(screen).log(logging.LogRecord("tasks", logging.WARNING, "", 0, text, (), None))
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith("! /data/boots/picture-0.png")
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == f"! {text}"


def test_warnings_stay(screen: io.StringIO) -> None:
    shown = plain(screen)
    shown.log(logging.LogRecord("tasks.x", logging.WARNING, "", 0, "Images %d", (7,), None))
    assert screen.getvalue().rstrip() == "! Images 7"


def test_a_failure_tells_its_reason_only_if_the_step_is_tried_again(screen: io.StringIO) -> None:
    shown = plain(screen)
    shown.step_failed(TRAIN, StepError("no room"), 2, again=False)
    shown.step_failed(TRAIN, StepError("no answer"), 2, again=True)
    shown.step_failed(TRAIN, KeyboardInterrupt(), 2, again=False)
    failed, again, stopped = (" ".join(line.split()) for line in screen.getvalue().splitlines())
    assert failed == "✗ train deep failed 2 s"
    assert again == "! train deep no answer: trying again 2 s"
    assert stopped == "■ train deep interrupted 2 s"


def test_where_nothing_is_live_a_training_is_a_line_now_and_then(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = plain(screen)
    shown.step_began(TRAIN)
    for now in (1.0, 11.0, 12.0):  # noqa: B007 - the clock reads it
        shown.step_progressed(TRAIN, MIDDLE)
    (line,) = screen.getvalue().splitlines()
    assert " ".join(line.split()) == "train deep epoch 31 of 50, loss 0.2733 18 s left"


def test_a_terminal_without_unicode_gets_other_marks() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, "ascii"), width=80)
    shown = Display(console, ("train",), RunLog())
    shown.step_ended(TRAIN, Facts(), 1)
    console.file.flush()
    assert raw.getvalue().startswith(b"+ train")


def test_nothing_is_left_on_a_live_terminal_but_the_lines(
    monkeypatch: pytest.MonkeyPatch, screen: io.StringIO
) -> None:
    console = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(display_module, "Console", lambda **options: console)
    before = observer()
    with display(("train",)):
        assert observer() is not before
        observer().step_began(TRAIN)
        observer().step_ended(TRAIN, Facts(number="loss 0.2681"), 1)
    assert observer() is before
    assert "loss 0.2681" in screen.getvalue()
