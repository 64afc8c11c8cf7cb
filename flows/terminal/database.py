"""The home folder and the database of temporary Prefect servers.

Each run at a terminal has a home of its own, which is removed at its end, unless PREFECT_HOME names
one. Prefect builds an empty database by a long row of migrations, which take longer than everything
else that a server does when it starts: the first server keeps a copy, which later ones start with.
In a home that stays, it takes Prefect half a second to find that there is nothing to migrate, so
the schema of a database that a server of this version has migrated is noted beside it.
"""

import logging
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import prefect
from prefect.settings import get_current_settings

from tasks.codes.errors import AutoencoderError
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.storage import atomic_file

logger = logging.getLogger(__name__)

TEMPLATE = Path(sys.prefix) / "share" / "autoencoder-flow" / f"prefect-{prefect.__version__}.db"
"""In the environment that Prefect is installed in; another version of Prefect has another one."""
DATABASE_FILE = "prefect.db"
"""Of Prefect, in its home folder, unless another database is configured."""
MIGRATIONS = Path(prefect.__file__).parent / "server/database/_migrations/versions/sqlite"


class Home(NamedTuple):
    """Prefect's home folder, of a server."""

    folder: Path
    temporary: bool
    """Whether it is removed when the server ends."""


def new_home() -> Home:
    """A new folder for a single run."""
    return Home(Path(tempfile.mkdtemp(prefix="autoencoder-flow-prefect-")), temporary=True)


def choose_home() -> Home:
    """The folder that PREFECT_HOME names, or a new one.

    Raises:
        StepError: it cannot be written to.
    """
    settings = get_current_settings()
    if "home" not in settings.model_fields_set:
        return new_home()
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=settings.home).close()
        path = own_database(settings.home)
        if path and path.exists():
            path.open("r+b").close()
    except OSError as error:
        raise StepError(
            f"Prefect's home folder {settings.home} cannot be written to ({error.strerror}): make "
            "it writable, or name another with PREFECT_HOME"
        ) from None
    return Home(settings.home, temporary=False)


@contextmanager
def prepared_database(home: Home) -> Iterator[None]:
    """Start a server within this and wait until it answers: a database is migrated only once.

    Other servers of the same home wait meanwhile, unless there is nothing to migrate.

    Raises:
        StepError: a newer version of Prefect has migrated the database.
    """
    path = own_database(home.folder)
    if path is None or not (home.temporary or needs_migration(path)):
        yield
        return
    with nullcontext() if home.temporary else lock("prefect-migration", home.folder):
        copy_template(path)
        check_schema(path)
        yield
        if home.temporary and not TEMPLATE.exists():
            # An environment that others installed cannot be written to.
            try:
                keep_template(path, TEMPLATE)
            except (AutoencoderError, sqlite3.Error) as error:
                logger.debug("No copy of the new database is kept: %s", error)
        note_migration(path)


def own_database(home: Path) -> Path | None:
    """The file of a server with this home; None if another database is configured."""
    settings, path = get_current_settings(), home / DATABASE_FILE
    url = settings.server.database.connection_url
    # Unless one is configured, Prefect's settings give that of the user's own home.
    ours = (f"///{path}", f"///{settings.home / DATABASE_FILE}")
    return path if url is None or url.get_secret_value().endswith(ours) else None


def copy_template(path: Path) -> None:
    """Copy the template if there is no database yet; without a template, Prefect builds one.

    A damaged template is removed; the next server with a temporary home makes a new one.
    """
    if path.exists() or not TEMPLATE.exists():
        return
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        copy = Path(folder) / DATABASE_FILE
        try:
            shutil.copyfile(TEMPLATE, copy)
            schema = read_schema(copy)
        except FileNotFoundError:  # another run has just removed it
            return
        except sqlite3.Error as error:
            _remove_damaged_template(error)
            return
        note = _note(copy)
        note.write_text(schema)  # the template was migrated by this very version
        note.replace(_note(path))
        with suppress(FileExistsError):
            os.link(copy, path)  # unlike a renamed file, it never replaces another run's database


def _remove_damaged_template(error: sqlite3.Error) -> None:
    try:
        TEMPLATE.unlink(missing_ok=True)
    except OSError:
        remedy = "delete it; until then each run builds a database"
    else:
        remedy = "it is removed, and this run builds a database"
    logger.warning("The database %s is damaged (%s): %s", TEMPLATE, error, remedy)


def keep_template(path: Path, target: Path) -> None:
    """Keep a copy of a database in which nothing happened yet.

    Raises:
        AutoencoderError, sqlite3.Error: it cannot be written.
    """
    with atomic_file(target) as whole:
        with closing(sqlite3.connect(path)) as database:
            database.execute("VACUUM INTO ?", (str(whole),))  # what is in its journal too
        read_schema(whole)


def check_schema(path: Path) -> None:
    """Refuse a database with a schema that the installed version does not know.

    Raises:
        StepError: a newer version of Prefect has migrated it.
    """
    try:
        schema = read_schema(path)
    except (OSError, sqlite3.Error):  # there is none yet, or Prefect will say what is wrong with it
        return
    texts = (migration.read_text() for migration in MIGRATIONS.glob("*.py"))
    known = {name for text in texts for name in re.findall(r'^revision = "(\w+)"', text, re.M)}
    if not set(schema.split(",")) <= known:
        raise StepError(
            f"Prefect's database {path} was made by a newer version than the installed "
            f"{prefect.__version__}: name another folder with PREFECT_HOME, or unset it"
        )


def needs_migration(path: Path | None) -> bool:
    """Whether a server must migrate a database, as far as is known; it never harms."""
    try:
        return path is None or _note(path).read_text() != read_schema(path)
    except (OSError, sqlite3.Error):
        return True


def note_migration(path: Path) -> None:
    """Note that a server of the installed version has migrated the database."""
    with suppress(OSError, sqlite3.Error):  # the next server looks for itself
        _note(path).write_text(read_schema(path))


def _note(database: Path) -> Path:
    return database.with_name(f"{DATABASE_FILE}-schema-{prefect.__version__}")


def read_schema(database: Path) -> str:
    """The name of the last migration.

    Raises:
        sqlite3.Error: the file is missing, damaged, or was never migrated.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return ",".join(name for (name,) in rows)
