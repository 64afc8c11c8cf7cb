import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_HOME,
    temporary_settings,
)

from flows.terminal import database
from flows.terminal.template import create_template


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server that other tests share has one."""
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_DATABASE_CONNECTION_URL}):
        yield


@pytest.mark.timeout(600)  # a server starts in 10 s, on a busy machine in a minute
def test_a_template_is_a_database_with_every_table(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "share" / "prefect.db", tmp_path / "elsewhere.db"
    url = f"sqlite+aiosqlite:///{elsewhere}"
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: url}):
        create_template(target, 600)
    assert not elsewhere.exists()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    with closing(sqlite3.connect(target)) as found:
        tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
        assert {"flow_run", "task_run", "artifact", "log", "alembic_version"} <= tables
        assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_template_is_copied_where_there_is_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, home = tmp_path / "template.db", tmp_path / "home"
    monkeypatch.setattr(database, "TEMPLATE", template)
    with temporary_settings({PREFECT_HOME: home}):
        database.prepare_database()
        assert not home.exists()
        template.write_text("template")
        database.prepare_database()
        copy = home / database.DATABASE_FILE
        assert copy.read_text() == "template"
        copy.write_text("of a run")
        database.prepare_database()
    assert copy.read_text() == "of a run"
    assert [path.name for path in home.iterdir()] == [copy.name]


def test_another_database_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template, home = tmp_path / "template.db", tmp_path / "home"
    template.write_text("template")
    monkeypatch.setattr(database, "TEMPLATE", template)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////elsewhere.db")
    with temporary_settings({PREFECT_HOME: home}):
        database.prepare_database()
    assert not home.exists()


def database_of(home: Path, schema: str) -> Path:
    home.mkdir(exist_ok=True)
    path = home / database.DATABASE_FILE
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (schema,))
    return path


def test_a_database_is_migrated_unless_this_version_of_prefect_has_done_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary_settings({PREFECT_HOME: tmp_path}):
        database.note_migration()
        assert database.needs_migration()  # there is none yet
        path = database_of(tmp_path, "a3b9")
        assert database.needs_migration()
        database.note_migration()
        assert not database.needs_migration()
        with monkeypatch.context() as patch:
            patch.setattr("prefect.__version__", "99.0.0")
            assert database.needs_migration()
        database_of(tmp_path, "e108")
        assert database.needs_migration()
        path.write_bytes(b"damaged" * 1000)
        assert database.needs_migration()


def test_nothing_is_known_of_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_of(tmp_path, "a3b9")
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////elsewhere.db")
    with temporary_settings({PREFECT_HOME: tmp_path}):
        database.note_migration()
        assert database.needs_migration()
    assert [path.name for path in tmp_path.iterdir()] == [database.DATABASE_FILE]
