import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.terminal import run_log
from flows.terminal.run_log import RunLog, logs_redirected

OURS = logging.getLogger("tasks.steps.step")


@pytest.fixture(autouse=True)
def console() -> Iterator[PrefectConsoleHandler]:
    """What Prefect sets up in a process of its own."""
    handler = PrefectConsoleHandler()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_the_file_has_every_line_also_those_from_before_the_run_was_known(root: Path) -> None:
    log = RunLog()
    with logs_redirected(log, lambda record: None):
        OURS.info("early")
        log.open("run-1")
        OURS.info("late")
        assert log.path == root / "logs" / "run-1.log"
    early, late = log.path.read_text().splitlines()
    assert early.endswith("| INFO    | tasks.steps.step - early")
    assert late.endswith(" - late")


def test_people_see_our_lines_and_all_warnings_but_what_the_display_says(root: Path) -> None:
    shown: list[str] = []
    with logs_redirected(RunLog(), lambda record: shown.append(record.getMessage())):
        OURS.info("ours")
        logging.getLogger("tensorflow").warning("a warning")
        logging.getLogger("prefect.task_runs").error("Finished in state Failed")
    assert shown == ["ours", "a warning"]


def test_prefect_s_console_is_back_afterwards(console: PrefectConsoleHandler, root: Path) -> None:
    before = list(logging.getLogger().handlers)
    with logs_redirected(RunLog(), lambda record: None):
        assert console not in logging.getLogger().handlers
    assert set(logging.getLogger().handlers) == set(before)


def test_only_the_newest_files_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "KEPT", 2)
    for age, name in enumerate(("c", "b", "a")):
        path = root / "logs" / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (10**9 - age, 10**9 - age))
    log = RunLog()
    log.open("d")
    log.close()
    assert {path.name for path in (root / "logs").iterdir()} == {"c.log", "d.log"}


def test_a_run_goes_on_without_a_log(root: Path) -> None:
    (root / "logs").write_text("a file in its place")
    log = RunLog()
    log.open("run-1")
    assert log.path is None


def test_a_log_fails_no_run_where_the_artifacts_folder_cannot_be_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself finds that out, or finds the folder usable again."""
    (root / "file").touch()
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(root / "file"))
    log = RunLog()
    log.open("run-1")
    assert log.path is None
