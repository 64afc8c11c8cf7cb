import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from contextvars import copy_context
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_HOME,
    Settings,
    temporary_settings,
)

from flows.terminal import database
from flows.terminal.database import Home
from tasks.core.errors import StepError
from tests.waiting import SOON


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server that other tests share has one."""
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_DATABASE_CONNECTION_URL}):
        yield


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the template is, once there is one."""
    path = tmp_path / "share" / "prefect.db"
    monkeypatch.setattr(database, "TEMPLATE", path)
    return path


KNOWN = next(database.MIGRATIONS.glob("*a3b9c7d2e5f1*")).name.split("_")[4]
"""A migration of the installed version."""


def database_of(path: Path, schema: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (schema,))
    return path


def test_without_a_setting_each_run_has_a_home_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setattr(database, "get_current_settings", Settings)
    first, second = database.choose_home(), database.choose_home()
    assert first != second
    for home in (first, second):
        assert home.temporary
        assert not list(home.folder.iterdir())
        home.folder.rmdir()


def test_a_home_that_is_set_is_used_and_stays(tmp_path: Path) -> None:
    with temporary_settings({PREFECT_HOME: tmp_path / "mine"}):
        assert database.choose_home() == (tmp_path / "mine", False)


def test_a_home_that_cannot_be_written_to_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        temporary_settings({PREFECT_HOME: tmp_path / "file" / "home"}),
        pytest.raises(StepError, match=r"file/home cannot be written.*PREFECT_HOME"),
    ):
        database.choose_home()


def test_the_first_run_keeps_its_new_database_for_later_ones(
    tmp_path: Path, template: Path
) -> None:
    first, second = (Home(tmp_path / name, temporary=True) for name in ("first", "second"))
    for home in (first, second):
        home.folder.mkdir()
    path = first.folder / database.DATABASE_FILE
    with database.prepared_database(first):
        assert database.needs_migration(path)
        assert not path.exists()
        database_of(path, KNOWN)  # the server does that
    copy = second.folder / database.DATABASE_FILE
    with database.prepared_database(second):
        assert database.read_schema(copy) == KNOWN
        assert not database.needs_migration(copy)
    assert [path.name for path in template.parent.iterdir()] == [template.name]


def test_an_environment_that_cannot_be_written_to_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "share").touch()
    monkeypatch.setattr(database, "TEMPLATE", tmp_path / "share" / "prefect.db")
    with database.prepared_database(Home(tmp_path, temporary=True)):
        database_of(tmp_path / database.DATABASE_FILE, KNOWN)


@pytest.mark.parametrize("content", [b"", b"damaged" * 1000])
def test_a_damaged_template_is_made_anew(tmp_path: Path, template: Path, content: bytes) -> None:
    template.parent.mkdir()
    template.write_bytes(content)
    home = Home(tmp_path / "home", temporary=True)
    home.folder.mkdir()
    path = home.folder / database.DATABASE_FILE
    with database.prepared_database(home):
        assert not path.exists()
        assert database.needs_migration(path)
        database_of(path, KNOWN)  # the server does that
    assert database.read_schema(template) == KNOWN


def test_the_template_never_replaces_a_database(tmp_path: Path, template: Path) -> None:
    database_of(template, KNOWN)
    path = database_of(tmp_path / "home" / database.DATABASE_FILE, "e108")
    database.copy_template(path)
    assert database.read_schema(path) == "e108"


def test_a_home_that_stays_is_migrated_by_one_process_at_a_time(
    tmp_path: Path, template: Path
) -> None:
    home = Home(tmp_path, temporary=False)
    entered = threading.Event()

    def second() -> None:
        with database.prepared_database(home):
            entered.set()

    thread = threading.Thread(target=copy_context().run, args=(second,))  # with these settings
    with database.prepared_database(home):
        thread.start()
        assert not entered.wait(0.1)
        database_of(tmp_path / database.DATABASE_FILE, KNOWN)
    thread.join(SOON)
    assert entered.is_set()
    assert not template.exists()  # it holds what happened here


def test_a_database_of_a_newer_prefect_is_refused_in_one_line(tmp_path: Path) -> None:
    path = database_of(tmp_path / database.DATABASE_FILE, "9f9f9f9f9f9f")
    refusal = f"{path} was made by a newer version .*PREFECT_HOME"
    with (
        pytest.raises(StepError, match=refusal),
        database.prepared_database(Home(tmp_path, temporary=False)),
    ):
        pytest.fail("A server would fail to start")


def test_a_database_is_migrated_unless_this_version_of_prefect_has_done_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / database.DATABASE_FILE
    database.note_migration(path)
    assert database.needs_migration(path)  # there is none yet
    database_of(path, "a3b9")
    assert database.needs_migration(path)
    database.note_migration(path)
    assert not database.needs_migration(path)
    with monkeypatch.context() as patch:
        patch.setattr("prefect.__version__", "99.0.0")
        assert database.needs_migration(path)
    database_of(path, "e108")
    assert database.needs_migration(path)
    path.write_bytes(b"damaged" * 1000)
    assert database.needs_migration(path)


def test_another_database_is_left_alone(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_of(template, KNOWN)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////elsewhere.db")
    with temporary_settings({PREFECT_HOME: tmp_path}):
        assert database.needs_migration(database.own_database(tmp_path))
        with database.prepared_database(Home(tmp_path, temporary=True)):
            assert not (tmp_path / database.DATABASE_FILE).exists()
