"""A model of the artifacts folder: random actions, and what must hold after each.

`python -m tests.crash.folder_model` takes thousands of steps. What must hold is what
`artifacts/README.md` promises: the published link leads to a complete run, or what is wrong with it
is told in one line; nothing is half-written; the journal follows the link; what is published is
announced at least once; nothing that is needed is deleted.
"""

import argparse
import logging
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks.codes.errors import AutoencoderError
from tasks.codes.published import published_link, run_folder
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.runs.building import PUBLICATION_LOCK
from tasks.runs.journal import read_journal
from tasks.runs.lookup import find_runs
from tasks.runs.manifest import Manifest
from tasks.runs.publication import publish
from tasks.runs.retention import delete_old_runs
from tests.crash.small_runs import (
    DATASETS,
    EXPECTED,
    KILLED,
    POINTS,
    Order,
    announce,
    run,
    start,
    wait,
)
from tests.faults.standing import check_entry, check_published

datasets = st.sampled_from(DATASETS)
seeds = st.integers(0, 1)
positions = st.integers(0, 10_000)
DAMAGED = ("runs", "models", "datasets", "publications", "published")
"""Where files are deleted and damaged."""
STEPS_OF_AN_EXAMPLE = 40

counted: Counter[str] = Counter()
"""How often each action was taken."""


class ArtifactsFolder(RuleBasedStateMachine):
    """An artifacts folder, and what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="folder-model-"))
        self.root = self._folder / "artifacts"
        self.root.mkdir()
        self._told = self._folder / "told"
        self._told.touch()
        self._backup = self._folder / "backup"
        self._numbers = count()
        self._killed: list[Order] = []
        self._touched: set[Path] = set()
        """Folders and files that are not as this project left them, relative to the root."""
        self._touched_before: set[Path] = set()
        """The same, in the backup."""

    def teardown(self) -> None:
        """Whatever was done: after what the messages ask for, a run can be published."""
        try:
            for dataset in DATASETS:
                self._remedy(dataset)
                self._publish_a_run(dataset)
        finally:
            shutil.rmtree(self._folder)

    def _publish_a_run(self, dataset: str) -> None:
        order = self._order(dataset, 0)
        manifest = run(order, self.root, self._told)
        if not manifest.verdict.published:  # the run before it cannot be read
            assert "cannot be read" in manifest.verdict.reason, manifest.verdict.reason
            publish(order.run, self.root, anyway=True)
            announce(dataset, self.root, self._told)
        assert check_published(dataset, self.root) == order.run
        assert order.run in self._told.read_text().split()

    def _order(self, dataset: str, seed: int) -> Order:
        return Order(f"run-{next(self._numbers):03d}", dataset, seed)

    def _act(self, order: Order) -> Manifest | None:
        """Make a run in this process; None if it fails with an expected error."""
        try:
            return run(order, self.root, self._told)
        except AutoencoderError as error:
            self._expect(str(error))
            return None

    def _expect(self, text: str) -> None:
        """An error is a line, and only what was touched from outside causes one."""
        assert "\n" not in text, text
        assert self._touched, text

    @rule(dataset=datasets, seed=seeds)
    def run(self, dataset: str, seed: int) -> None:
        """A run that is good enough."""
        counted["run"] += 1
        order = self._order(dataset, seed)
        manifest = self._act(order)
        if manifest and manifest.verdict.published:
            assert check_published(dataset, self.root) == order.run
            assert self._told.read_text().split()[-1] == order.run
        assert self._touched or (manifest and manifest.verdict.published)

    @rule(dataset=datasets, seed=seeds)
    def quick(self, dataset: str, seed: int) -> None:
        """A quick look, which changes nothing that is published."""
        counted["quick"] += 1
        self._expect_no_switch(self._order(dataset, seed)._replace(quick=True))

    @rule(dataset=datasets, seed=seeds)
    def refuse(self, dataset: str, seed: int) -> None:
        """A run that is worse than the one before; the first one is published."""
        counted["refuse"] += 1
        if find_runs(self.root):
            self._expect_no_switch(self._order(dataset, seed)._replace(worse=True))

    def _expect_no_switch(self, order: Order) -> None:
        before = self._link(order.dataset)
        if before is None:
            return
        manifest = self._act(order)
        if manifest and not manifest.verdict.published:
            assert self._link(order.dataset) == before

    def _link(self, dataset: str) -> str | None:
        link = published_link(dataset, self.root)
        return str(link.readlink()) if link.is_symlink() else None

    @rule(dataset=datasets, seed=seeds)
    def retrain(self, dataset: str, seed: int) -> None:
        """A run whose model is trained again, to the same weights in other files."""
        counted["retrain"] += 1
        self._act(self._order(dataset, seed)._replace(retrain=True))

    @rule(dataset=datasets, seed=seeds, point=st.sampled_from(sorted(POINTS)))
    def kill_at_point(self, dataset: str, seed: int, point: str) -> None:
        """A run that is killed at a named point, if it comes there."""
        counted["kill at a named point"] += 1
        self._kill(self._order(dataset, seed), point)

    @rule(dataset=datasets, seed=seeds, writes=st.integers(0, 120))
    def kill_at_write(self, dataset: str, seed: int, writes: int) -> None:
        """A run that is killed before one of its writes."""
        counted["kill at a write"] += 1
        self._kill(self._order(dataset, seed), writes)

    def _kill(self, order: Order, kill_at: str | int) -> None:
        log = self._folder / "log"
        process = start(lambda: run(order, self.root, self._told), log, kill_at)
        ended = wait(process, log)
        if ended.code == KILLED:
            self._killed.append(order)
        elif ended.code != 0:
            assert ended.code == EXPECTED, ended.text
            self._expect(ended.text)

    @precondition(lambda self: self._killed)
    @rule()
    def retry(self) -> None:
        """The next attempt at the run that was killed last."""
        counted["retry"] += 1
        self._act(self._killed.pop())

    @rule(dataset=datasets, seed=seeds, other=datasets)
    def two_at_once(self, dataset: str, seed: int, other: str) -> None:
        """Two processes, of one dataset or of two."""
        counted["two at once"] += 1
        started = []
        for number, chosen in enumerate((dataset, other)):
            order, log = self._order(chosen, seed), self._folder / f"log-{number}"
            started.append((start(_runner(order, self.root, self._told), log), log))
        for process, log in started:
            ended = wait(process, log)
            if ended.code:
                assert ended.code == EXPECTED, ended.text
                self._expect(ended.text)

    @rule(position=positions, anyway=st.booleans())
    def roll_back(self, position: int, anyway: bool) -> None:
        """`python -m tasks.runs publish RUN`."""
        counted["roll back"] += 1
        runs = find_runs(self.root)
        if not runs:
            return
        chosen = runs[position % len(runs)]
        try:
            publish(chosen.run, self.root, anyway)
        except AutoencoderError as error:
            assert "\n" not in str(error)
            assert self._touched or not (anyway or chosen.verdict.published), str(error)
        else:
            assert self._link(chosen.dataset.name) == f"../runs/{chosen.run}"

    @rule(keep=st.integers(1, 3))
    def collect(self, keep: int) -> None:
        """Delete what is old, however young it is."""
        counted["collect"] += 1
        before = self._needed()
        for dataset in DATASETS:
            with lock(PUBLICATION_LOCK, self.root):
                delete_old_runs("no run", dataset, keep, timedelta(0), self.root)
        left = {folder for run, folders in before.items() if run.exists() for folder in folders}
        assert all(folder.exists() for folder in left), left
        assert all(run.exists() for run in map(self._published, DATASETS) if run in before)

    def _needed(self) -> dict[Path, list[Path]]:
        """By the folder of each run: those folders that it needs and that are there."""
        return {
            run_folder(run.run, self.root): [
                folder
                for name in (run.dataset.folder, *(model.folder for model in run.models))
                if (folder := self.root / name).exists()
            ]
            for run in find_runs(self.root)
        }

    def _published(self, dataset: str) -> Path:
        return published_link(dataset, self.root).resolve()

    @rule()
    def back_up(self) -> None:
        """A copy with its links."""
        counted["back up"] += 1
        for dataset in DATASETS:
            self._remedy(dataset)
        shutil.rmtree(self._backup, ignore_errors=True)
        subprocess.run(["cp", "-a", self.root, self._backup], check=True)
        self._touched_before = set(self._touched)

    @precondition(lambda self: self._backup.exists())
    @rule()
    def restore(self) -> None:
        """The copy over what is there: newer runs stay, journal and link are the older ones."""
        counted["restore"] += 1
        for link in self.root.glob("published/*"):
            if not link.is_symlink():
                shutil.rmtree(link)
        subprocess.run(["cp", "-a", f"{self._backup}/.", self.root], check=True)
        self._touched |= self._touched_before

    @rule(dataset=datasets)
    def restore_without_links(self, dataset: str) -> None:
        """What `cp -rL` and object storage make of the link."""
        counted["restore without links"] += 1
        link = published_link(dataset, self.root)
        if link.is_symlink() and link.exists():
            source = link.resolve()
            link.unlink()
            shutil.copytree(source, link)
            self._touched.add(link.relative_to(self.root))

    @rule(position=positions)
    def delete_a_file(self, position: int) -> None:
        """Somebody deletes a file."""
        counted["delete a file"] += 1
        self._touch(position, Path.unlink)

    @rule(position=positions, byte=positions)
    def damage_a_byte(self, position: int, byte: int) -> None:
        """The disk gives back another byte."""
        counted["damage a byte"] += 1

        def damage(path: Path) -> None:
            content = bytearray(path.read_bytes())
            if content:
                content[byte % len(content)] ^= 1 << byte % 8
                path.write_bytes(content)

        self._touch(position, damage)

    def _touch(self, position: int, act: Callable[[Path], None]) -> None:
        files = [
            path
            for kind in DAMAGED
            for path in sorted((self.root / kind).rglob("*"))
            if path.is_file() and ".partial-" not in str(path)
        ]
        if not files:
            return
        chosen = files[position % len(files)]
        self._touched.add(Path(*chosen.relative_to(self.root).parts[:2]))
        act(chosen)

    @rule(dataset=datasets)
    def remedy(self, dataset: str) -> None:
        """A person does what the messages say."""
        counted["remedy"] += 1
        self._remedy(dataset)

    def _remedy(self, dataset: str) -> None:
        link = published_link(dataset, self.root)
        if link.exists() and not link.is_symlink():
            shutil.rmtree(link)
        try:
            read_journal(dataset, self.root)
        except StepError as error:
            assert "remove it" in str(error)
            (self.root / "publications" / f"{dataset}.json").unlink()

    @invariant()
    def all_that_nobody_touched_is_whole(self) -> None:
        """Whatever is under a final name is complete, or was touched from outside."""
        counted["steps"] += 1
        for kind in DAMAGED:
            for entry in sorted((self.root / kind).glob("[!.]*")):
                self._check(entry)

    def _check(self, entry: Path) -> None:
        name = entry.relative_to(self.root)
        try:
            check_entry(entry, self.root)
        except AutoencoderError as error:
            self._expect(str(error))
            leads_to_it = name.parts[0] == "published"
            assert leads_to_it or name in self._touched, f"{name}: {error}"
        except (AssertionError, OSError, ValueError) as error:
            assert name in self._touched or self._depends(name), f"{name}: {error}"
        else:
            self._touched.discard(name)

    def _depends(self, name: Path) -> bool:
        """Whether a journal was compared with a link that was touched."""
        return Path("published", name.stem) in self._touched


def _runner(order: Order, root: Path, told: Path) -> Callable[[], Manifest]:
    return lambda: run(order, root, told)


def take_steps(steps: int, derandomize: bool = False) -> dict[str, int]:
    """Take about so many steps; return how often each action was taken.

    Raises:
        AssertionError: something did not hold; hypothesis prints the way there.
    """
    counted.clear()
    with _quietly(), mock.patch.object(os, "fsync", return_value=None):
        run_state_machine_as_test(
            ArtifactsFolder,
            settings=settings(
                max_examples=max(1, steps // STEPS_OF_AN_EXAMPLE),
                stateful_step_count=STEPS_OF_AN_EXAMPLE,
                deadline=None,
                derandomize=derandomize,
                database=None,
                print_blob=True,
                phases=[Phase.generate],  # shortening takes minutes; the blob repeats it
                suppress_health_check=list(HealthCheck),
            ),
        )
    return dict(counted)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings of damage, which come by the hundred."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def main() -> None:
    """Take steps until there were enough, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    while total["steps"] < arguments.steps:
        total.update(take_steps(arguments.steps - total["steps"]))
    print(dict(total))


if __name__ == "__main__":
    main()
