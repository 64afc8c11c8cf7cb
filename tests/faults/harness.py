"""Lets one system call of a run fail, and checks what is left."""

import shutil
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from tasks.codes.errors import CodesError
from tasks.core.errors import StepError
from tasks.runs.journal import read_journal
from tests.conftest import SAMPLE
from tests.crash.results import results
from tests.faults.calls import FAULTS, KINDS, Call, Fault, is_done, list_calls, options, traced
from tests.faults.standing import check_folder, check_published
from tests.faults.victim import STAGES, Order, Outcome, start
from tests.forking import PROCESSES, import_once
from tests.leftovers import make_old

RUN, NEXT_RUN = "run-under-fault", "run-after-it"
DATASET = SAMPLE.dataset
POLL_SECONDS = 0.01
READ_PAUSE_SECONDS = 0.2


class Case(NamedTuple):
    """One call, and how it fails."""

    call: Call
    fault: Fault


class Found(NamedTuple):
    """What a case came to."""

    outcome: str
    """In two words."""
    text: str = ""
    """The line that the run ended with."""
    fault: str = ""
    """What is wrong; empty if nothing is."""


class Workshop:
    """An artifacts folder that is as it was before any stage, again and again."""

    def __init__(self, folder: Path) -> None:
        """Publish two runs of other models, then a third, undisturbed, and note its calls."""
        self.root, self._copies = folder / "artifacts", folder / "copies"
        self._announcements = folder / "announcements"
        self._log = folder / "strace.log"
        self.root.mkdir(parents=True)
        import_once(__name__)
        self._publish_earlier()
        self._copy_each_stage()
        self.expected = results(self.root, DATASET)
        self.calls = [call for stage in STAGES for call in self._list_calls(stage)]

    def _publish_earlier(self) -> None:
        """The first of two earlier runs is old enough to be deleted by the next."""
        for seed, run in enumerate(("run-old", "run-before"), start=1):
            assert self._run(self._order(run, seed)) == Outcome("", True, 0)
        journal = self.root / "publications" / f"{DATASET}.json"
        journal.write_text(journal.read_text().replace('"time": "20', '"time": "19'))
        for path in (self.root / "runs" / "run-old", *(self.root / "models").glob("*")):
            make_old(path)

    def _copy_each_stage(self) -> None:
        with self._started(self._order(RUN, stage=STAGES[0])) as (_, connection):
            while not isinstance(said := connection.recv(), Outcome):
                shutil.copytree(self.root, self._copies / said, symlinks=True)
                connection.send("go on")
        assert said == Outcome("", True, 0), said

    def _list_calls(self, stage: str) -> list[Call]:
        self.restore(stage)
        with self._started(self._order(RUN, stage=stage)) as (process, connection):
            assert connection.recv() == stage
            with traced(_pid(process), self._log, "-e", f"trace={','.join(KINDS)}"):
                connection.send("go on")
                connection.recv()
            process.kill()
        return list_calls(self._log.read_text(errors="replace"), self.root, stage)

    def restore(self, stage: str) -> None:
        """The folder as it was before a stage."""
        shutil.rmtree(self.root)
        shutil.copytree(self._copies / stage, self.root, symlinks=True)
        self._announcements.unlink(missing_ok=True)

    def try_case(self, case: Case, same_name: bool) -> Found:
        """Run with the fault, then run again; check what is left after each.

        Args:
            same_name: whether the second run is a retry of the first.
        """
        self.restore(case.call.stage)
        try:
            with _watched(self.root):
                outcome = self._run_under(case)
                check_folder(self.root)
                again = self._run(self._order(RUN if same_name else NEXT_RUN))
                assert again == Outcome("", True, 0), f"the next run: {again}"
                check_folder(self.root)
            self._check_results()
        except (AssertionError, CodesError, StepError) as error:
            return Found("fault found", fault=f"{type(error).__name__}: {error}")
        return outcome

    def _check_results(self) -> None:
        assert results(self.root, DATASET) == self.expected, "other bits"
        last = read_journal(DATASET, self.root).publications[-1]
        assert last.announced, f"{last.run} was not announced"
        assert last.run in self._announcements.read_text().split(), f"nobody heard of {last.run}"

    def _run_under(self, case: Case) -> Found:
        """The run with the fault."""
        stage, said = case.call.stage, None
        with self._started(self._order(RUN, stage=stage)) as (process, connection):
            assert connection.recv() == stage
            with traced(_pid(process), self._log, *options(*case)), suppress(EOFError):
                connection.send("go on")
                while not isinstance(said, Outcome):
                    if connection.poll(POLL_SECONDS):
                        said = connection.recv()
                        if not isinstance(said, Outcome):
                            connection.send("go on")
                    elif case.fault == "killed after" and is_done(case.fault, self._log):
                        process.kill()
                        break  # strace would hold on to it until the pause is over
            process.join()
        killed = case.fault == "killed before" and process.exitcode == -signal.SIGKILL
        assert killed or is_done(case.fault, self._log), "the call was not made"
        return _judge(said, process.exitcode)

    def _run(self, order: Order) -> object:
        """Run without a fault to the end; return the outcome."""
        with self._started(order) as (_, connection):
            return connection.recv()

    def _order(self, run: str, seed: int = 0, stage: str | None = None) -> Order:
        return Order(run, seed, self.root, self._announcements, stage)

    @contextmanager
    def _started(self, order: Order) -> Iterator[tuple[BaseProcess, Connection]]:
        ours, theirs = PROCESSES.Pipe()
        process = PROCESSES.Process(target=start, args=(order, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            yield process, ours
        finally:
            process.kill()
            process.join()
            ours.close()


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None
    return process.pid


def _judge(said: object, code: int | None) -> Found:
    """How a run under a fault ended."""
    if not isinstance(said, Outcome):
        assert code == -signal.SIGKILL, f"the process ended with {code}"
        return Found("killed")
    assert said.expected, f"a traceback: {said.error}"
    assert "\n" not in said.error, f"more than a line: {said.error}"
    if said.error:
        return Found("error in one line", said.error)
    return Found("a retry succeeded" if said.retries else "did not matter")


@contextmanager
def _watched(root: Path) -> Iterator[None]:
    """Read what is published, again and again, in another thread.

    Raises:
        AssertionError: at a moment it could not be read.
    """
    done = threading.Event()
    faults: list[Exception] = []

    def read() -> None:
        while not done.wait(READ_PAUSE_SECONDS) and not faults:
            try:
                check_published(DATASET, root)
            except (CodesError, OSError, AssertionError) as error:
                faults.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not faults, f"a reader saw: {faults[0]}"


def choose_cases(calls: list[Call], count: int) -> list[Case]:
    """As many cases of each kind of call as of any other, or all; evenly over the run."""
    by_kind: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_kind[call.kind].append(call)
    chosen: list[Case] = []
    for done, alike in enumerate(sorted(by_kind.values(), key=len)):
        left = len(by_kind) - done
        share = min(len(alike) * len(FAULTS), round((count - len(chosen)) / left))
        chosen += _spread(alike, share, first_fault=done)
    return chosen


def _spread(calls: list[Call], count: int, first_fault: int) -> list[Case]:
    """So many cases at equal distances, with each fault in turn; none twice.

    Args:
        first_fault: another one for each kind of call, so that few cases have all faults too.
    """
    return [
        Case(calls[number * len(calls) // count], FAULTS[(first_fault + number) % len(FAULTS)])
        for number in range(count)
    ]


def try_cases(workshop: Workshop, cases: list[Case]) -> dict[str, Any]:
    """Try one after the other; count outcomes by kind of call and by fault."""
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    by_fault: dict[str, Counter[str]] = defaultdict(Counter)
    faults = []
    for number, case in enumerate(cases, start=1):
        found = workshop.try_case(case, same_name=number % 2 == 0)
        by_kind[case.call.kind][found.outcome] += 1
        by_fault[case.fault][found.outcome] += 1
        if found.fault:
            faults.append(f"{describe(case)}: {found.fault}")
        print(f"{number}: {describe(case)}: {found.outcome} {found.text}{found.fault}", flush=True)
    return {
        "calls of a run": dict(Counter(call.kind for call in workshop.calls)),
        "cases": len(cases),
        "by kind of call": {kind: dict(counted) for kind, counted in sorted(by_kind.items())},
        "by fault": {fault: dict(counted) for fault, counted in by_fault.items()},
        "faults": faults,
    }


def describe(case: Case) -> str:
    """A case in words."""
    call = case.call
    return f"{case.fault} at {call.kind} {call.number} of {call.path}, {call.stage}"
