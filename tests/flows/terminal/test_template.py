import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.terminal import template


class Stub(NamedTuple):
    """A server that leaves its database at a path, or nothing."""

    database: Path | None

    def stop(self) -> None:
        if self.database:
            self.database.unlink(missing_ok=True)
            with closing(sqlite3.connect(self.database)) as connection, connection:
                connection.execute("CREATE TABLE alembic_version (version_num)")
                connection.execute("INSERT INTO alembic_version VALUES ('a3b9')")


@pytest.mark.parametrize("damaged", [True, False])
@pytest.mark.parametrize("writable", [True, False])
def test_a_template_that_cannot_be_kept_is_reported(
    writable: bool, damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prefect.db"
    if damaged:
        path.write_bytes(b"damaged" * 1000)
    stub = Stub(path if writable else None)
    monkeypatch.setattr(template, "TEMPLATE", path)
    monkeypatch.setattr(template, "start_separate_server", lambda seconds: stub)
    said = template.main()
    assert said is None if writable else said and str(path) in said


def test_a_sound_template_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prefect.db"
    Stub(path).stop()
    monkeypatch.setattr(template, "TEMPLATE", path)
    monkeypatch.delattr(template, "start_separate_server")
    assert template.main() is None
