import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tests.fuzz import cases
from tests.fuzz.__main__ import fuzz
from tests.fuzz.cases import READ, REFUSED, Finding, damaged_file, run_case
from tests.fuzz.miniatures import MINIATURES

FILES = 20
WORKER = """
import os, signal, sys
kind, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last):
    print(number, flush=True)
    if number % 3 == 0:
        os.kill(os.getpid(), signal.SIGALRM if number else signal.SIGKILL)
    print("FINDING a traceback" if number == 4 else "read", flush=True)
"""


@pytest.mark.parametrize("kind", MINIATURES)
def test_damaged_files_are_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    """A sample of what `python -m tests.fuzz` reads, which limits memory and time too."""
    outcomes = {run_case(kind, number, tmp_path) for number in range(FILES)}
    assert outcomes <= {READ, REFUSED}


@pytest.mark.parametrize("kind", MINIATURES)
def test_whole_files_are_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for miniature in MINIATURES[kind]:
        whole = miniature.finish(miniature.content)
        monkeypatch.setattr(cases, "damaged_file", lambda kind, number, whole=whole: whole)
        assert run_case(kind, 0, tmp_path) == READ


def test_a_number_is_always_the_same_file() -> None:
    assert damaged_file("npz", 7) == damaged_file("npz", 7)
    assert len({damaged_file("npz", number) for number in range(20)}) > 15


@pytest.mark.parametrize("line", ["", "two\nlines", "x" * 3000, "\x1b[2J"])
def test_what_is_not_one_line_is_a_finding(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_raw: object) -> None:
        raise StepError(line)

    monkeypatch.setattr(cases, "check_counts", refuse)
    monkeypatch.setattr(cases, "damaged_file", lambda kind, number: MINIATURES["npy"][0].content)
    with pytest.raises(Finding, match="not one line"):
        run_case("npy", 0, tmp_path)


def test_a_run_and_an_inspection_must_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_raw: object) -> None:
        raise StepError("no")

    monkeypatch.setattr(cases, "check_counts", refuse)  # as the run calls it, not the inspection
    monkeypatch.setattr(cases, "damaged_file", lambda kind, number: MINIATURES["npy"][0].content)
    with pytest.raises(Finding, match="the run says no, the inspection"):
        run_case("npy", 0, tmp_path)


def test_a_process_that_ends_is_a_finding_and_another_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ending_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = fuzz("npy", 0, 6, "ending_worker")
    assert found.findings == {
        0: "FINDING crashes with SIGKILL",
        3: "FINDING hangs",
        4: "FINDING a traceback",
    }
    assert found.counts == {"findings": 3, "read": 3}


def test_the_worker_limits_memory(tmp_path: Path) -> None:
    program = (
        "import sys, tests.fuzz.worker as worker, tests.fuzz.cases as cases\n"
        "cases.run_case = lambda *_: str(len(bytearray(2 * worker.MEMORY)))\n"
        "worker.main('npy', 0, 1, sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("0\nFINDING MemoryError")
