"""The database of temporary Prefect servers: a copy of one that was made at installation.

Prefect builds an empty database by a long row of migrations, which take longer than everything else
that a server does when it starts.
"""

import os
import shutil
import sys
import tempfile
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
    settings = get_current_settings()
    path = settings.home / DATABASE_FILE
    url = settings.server.database.connection_url
    ours = url is None or url.get_secret_value().endswith(f"///{path}")
    if not ours or path.exists() or not TEMPLATE.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        copy = Path(folder) / DATABASE_FILE
        shutil.copyfile(TEMPLATE, copy)
        try:
            os.link(copy, path)  # unlike a renamed file, it never replaces another run's database
        except FileExistsError:
            return
