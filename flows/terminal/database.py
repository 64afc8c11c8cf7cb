"""The database of temporary Prefect servers: a copy of one that was made at installation.

Prefect builds an empty database by a long row of migrations, which take longer than everything else
that a server does when it starts. To find that there is nothing to migrate takes it half a second,
so the schema of a database that a server of this version has migrated is noted beside it.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import prefect
from prefect.settings import get_current_settings

TEMPLATE = Path(sys.prefix) / "share" / "autoencoder-flow" / f"prefect-{prefect.__version__}.db"
"""Made by `flows/terminal/template.py`, in the environment that Prefect is installed in; another
version of Prefect has another one."""
DATABASE_FILE = "prefect.db"
"""Of Prefect, in its home folder, unless another database is configured."""


def prepare_database() -> None:
    """Copy the template if Prefect has no database yet; without a template, Prefect builds one."""
    path = _own_database()
    if path is None or path.exists() or not TEMPLATE.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        copy = Path(folder) / DATABASE_FILE
        shutil.copyfile(TEMPLATE, copy)
        try:
            os.link(copy, path)  # unlike a renamed file, it never replaces another run's database
        except FileExistsError:
            return


def needs_migration() -> bool:
    """Whether a server must migrate the database, as far as is known; it never harms."""
    path = _own_database()
    try:
        return path is None or _note(path).read_text() != _read_schema(path)
    except (OSError, sqlite3.Error):
        return True


def note_migration() -> None:
    """Note that a server of the installed version has migrated the database."""
    path = _own_database()
    if path is None:
        return
    try:
        _note(path).write_text(_read_schema(path))
    except (OSError, sqlite3.Error):  # the next server looks for itself
        return


def _own_database() -> Path | None:
    """Prefect's file in its home folder; None if another database is configured."""
    settings = get_current_settings()
    path = settings.home / DATABASE_FILE
    url = settings.server.database.connection_url
    return path if url is None or url.get_secret_value().endswith(f"///{path}") else None


def _note(database: Path) -> Path:
    return database.with_name(f"{database.name}-schema-{prefect.__version__}")


def _read_schema(database: Path) -> str:
    """The name of the last migration.

    Raises:
        sqlite3.Error: the file is missing, damaged, or was never migrated.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return ",".join(name for (name,) in rows)
