"""The flow in a process of its own that may be told to kill itself: `python -m tests.crash.victim`.

`CRASH_POINT` names where, `CRASH_COUNT` how often that point is passed before. The code that is
killed is the project's own; only the kill is put beside it. With `CRASH_RUN`, all names of files
are the same in each process: it is the name of the run.
"""

import json
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from prefect.runtime import flow_run

from tasks.core import storage
from tasks.encoding import export
from tasks.encoding import writer as codes_writer
from tasks.models import basis, checkpoints, training
from tasks.models.checkpoints import Checkpoints
from tasks.runs import outbox, publication
from tasks.steps import events

Kill = Callable[[], None]


def die() -> None:
    """End at once, like a machine that loses power."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(passes: int, act: Kill) -> Kill:
    """Act when called for the time after that many."""
    left = iter(range(passes, -1, -1))
    return lambda: act() if next(left, -1) == 0 else None


def amid_write(owner: Any, name: str, kill: Kill) -> None:
    """Die when a function has written half of its file."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.object(Path, "write_bytes", _half_then(kill)):
            return original(*args, **kwargs)

    _replace(owner, name, wrapped)


def amid_record_of_switch(kill: Kill) -> None:
    """Die amid the journal's write, by whoever switched the link or by whoever comes next."""
    for module in (publication, outbox):
        amid_write(module, "record_publication", kill)


def after_whitened_checkpoint(kill: Kill) -> None:
    """Die just after the checkpoint that follows a whitening of the code."""
    whitened: list[bool] = []
    _call_after(basis, "whiten", lambda: whitened.append(True))
    _call_after(Checkpoints, "save", lambda: kill() if whitened else None)


def around_rename(before: Kill, after: Kill) -> None:
    """Die just before or just after a checkpoint gets its name."""
    rename = storage.rename

    def spy(source: Path, target: Path) -> None:
        ours = target.parent.name == "checkpoints"
        if ours:
            before()
        rename(source, target)
        if ours:
            after()

    _replace(storage, "rename", spy)


def _half_then(kill: Kill) -> Callable[[Path, bytes], None]:
    def write(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            kill()
            file.write(content[len(content) // 2 :])

    return write


def _replace(owner: Any, name: str, other: Callable[..., Any] | Iterable[str]) -> None:
    setattr(owner, name, other)


def _call_before(owner: Any, name: str, act: Kill) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    _replace(owner, name, wrapped)


def _call_after(owner: Any, name: str, act: Kill) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        act()
        return result

    _replace(owner, name, wrapped)


def _nothing() -> None:
    """Live on."""


ARMS: dict[str, Callable[[Kill], None]] = {
    "amid a checkpoint's write": lambda kill: amid_write(checkpoints, "write_bytes", kill),
    "before a checkpoint's rename": lambda kill: around_rename(kill, _nothing),
    "after a checkpoint's rename": lambda kill: around_rename(_nothing, kill),
    "between the models": lambda kill: _call_after(Checkpoints, "clear", kill),
    "before whitening": lambda kill: _call_before(basis, "whiten", kill),
    "after whitening": lambda kill: _call_after(basis, "whiten", kill),
    "after a checkpoint that follows whitening": after_whitened_checkpoint,
    "amid the codes' write": lambda kill: _call_after(codes_writer, "_write_model", kill),
    "amid the export": lambda kill: _call_after(export, "_write_array", kill),
    "before the switch": lambda kill: _call_before(publication, "switch_link", kill),
    "after the switch": lambda kill: _call_before(publication, "record_publication", kill),
    "amid the record of the switch": amid_record_of_switch,
    "before the announcement": lambda kill: _call_before(events, "announce", kill),
    "after the announcement": lambda kill: _call_after(events, "announce", kill),
    "amid the record of the announcement": lambda kill: amid_write(outbox, "mark_announced", kill),
    "after the record of the announcement": lambda kill: _call_after(
        outbox, "mark_announced", kill
    ),
}
"""How to put the kill beside the code it interrupts, by the point's name."""
POINTS = tuple(ARMS)


def fix_names(run: str) -> None:
    """Give runs and temporary files the same names in each process, so that calls can be named."""
    training.CALL_SECONDS = 1e9
    _replace(tempfile, "_name_sequence", (f"{number:08d}" for number in count()))
    _replace(flow_run, "get_id", lambda: run)


def live(flags: list[str]) -> int:
    """Run the flow as the environment says; return the exit code, if it lives so long."""
    from flows.retrain import main

    checkpoints.CHECKPOINT_SECONDS = float(os.environ.get("CRASH_CHECKPOINT_SECONDS", "2"))
    checkpoints.MAX_COST = math.inf  # however long a write took, the next one is due as set
    if "CRASH_RUN" in os.environ:
        fix_names(os.environ["CRASH_RUN"])
    if "CRASH_POINT" in os.environ:
        ARMS[os.environ["CRASH_POINT"]](after(int(os.environ["CRASH_COUNT"]), die))
    return main(flags)


def fork_on_demand() -> None:
    """For each line of JSON, a process with these variables and flags; prints how each ended.

    They import nothing any more: that would be half of the processor time of a short run.
    """
    for module in ("flows.retrain", "tasks.evaluation.baselines", "tasks.reports.figures.drawing"):
        import_module(module)

    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if process == 0:
            log = os.open(order["log"], os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(log, stream.fileno())
            os.environ.update(order["variables"])
            code = live(order["flags"])
            sys.stdout.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--fork-on-demand"]:
        fork_on_demand()
    else:
        sys.exit(live(sys.argv[1:]))
