"""The system calls of a process that write beneath a folder, as strace sees them.

strace counts the calls it changes by thread, and with `-P` only those that touch a path. A call is
therefore named by its kind, its path and its number among the calls of that kind on that path.
"""

import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

Fault = Literal["ENOSPC", "EIO", "killed before", "killed after"]
FAULTS: tuple[Fault, ...] = ("ENOSPC", "EIO", "killed before", "killed after")
OPENING = ("open", "openat", "creat")
KINDS = (
    *OPENING,
    *("write", "pwrite64", "writev", "pwritev", "sendfile", "copy_file_range"),
    *("ftruncate", "truncate", "fallocate", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat"),
)
WRITING = re.compile(r"\bO_(CREAT|WRONLY|RDWR|TRUNC|TMPFILE)\b")
LINE = re.compile(r"^\d+ +(?P<kind>\w+)\((?P<rest>.*)$")
PATH = re.compile(r'<(/[^<>]*)>|"(/[^"]*)"')
ATTACH_SECONDS = 600
PAUSE_SECONDS = 600
"""How long a call is held back after it was done; it is killed meanwhile."""


DELAYED = "(DELAYED)"
"""In strace's log, of such a call."""


class Call(NamedTuple):
    """One system call of a run."""

    stage: str
    kind: str
    path: str
    number: int
    """Among the calls of this kind on this path in the stage, from 1."""


def list_calls(trace: str, root: Path, stage: str) -> list[Call]:
    """The calls of a trace that write beneath a folder, in order."""
    counts: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in trace.splitlines():
        match = LINE.match(line)
        path = _path(match["rest"], root) if match else None
        if match is None or path is None:
            continue
        kind = match["kind"]
        counts[kind, path] += 1
        if kind not in OPENING or WRITING.search(match["rest"]):
            calls.append(Call(stage, kind, path, counts[kind, path]))
    return calls


def _path(arguments: str, root: Path) -> str | None:
    """The first path beneath the folder, of a file descriptor or as text."""
    for found in PATH.finditer(arguments):
        path = found[1] or found[2]
        if path == str(root) or path.startswith(f"{root}/"):
            return path
    return None


def options(call: Call, fault: Fault) -> list[str]:
    """How strace is told to let a call fail, to kill before it, or to pause after it."""
    effect = {
        "killed before": "signal=KILL",
        "killed after": f"delay_exit={PAUSE_SECONDS * 1_000_000}",
    }.get(fault, f"error={fault}")
    return [
        *("-P", call.path, "-e", f"trace={call.kind}"),
        *("-e", f"inject={call.kind}:{effect}:when={call.number}"),
    ]


def is_done(fault: Fault, log: Path) -> bool:
    """Whether the fault happened, by strace's log, which may not tell of a kill any more."""
    mark = DELAYED if fault == "killed after" else "(INJECTED)"
    return log.exists() and mark in log.read_text(errors="replace")


def delayed_process(log: Path) -> int:
    """The process, or one of its threads, that is held back after a call."""
    (line,) = (line for line in log.read_text(errors="replace").splitlines() if DELAYED in line)
    return int(line.split()[0])


def strace(log: Path, *arguments: str) -> list[str]:
    """The command that traces all threads and children, with the paths of file descriptors."""
    program = shutil.which("strace")
    if program is None:
        raise FileNotFoundError("strace is needed: apt-get install strace")
    return [program, "-f", "-y", "-qq", "-s", "400", "-o", str(log), *arguments]


@contextmanager
def traced(pid: int, log: Path, *arguments: str) -> Iterator[None]:
    """Trace a process that waits meanwhile; when this is left, strace has ended."""
    command = strace(log, *arguments, "-p", str(pid))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        try:
            _wait_until_traced(pid, tracer)
            yield
        finally:
            tracer.kill()  # told to end, it may wait for threads that ended before


def _wait_until_traced(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while not all(_is_traced(status) for status in Path(f"/proc/{pid}/task").glob("*/status")):
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("strace cannot attach: is ptrace allowed here?")
        time.sleep(0.01)


def _is_traced(status: Path) -> bool:
    return "TracerPid:\t0\n" not in status.read_text()
