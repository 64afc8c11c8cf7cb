from pathlib import Path
from typing import NamedTuple

import pytest

from flows.terminal import template


class Stub(NamedTuple):
    """A server that leaves its database at a path, or nothing."""

    database: Path | None

    def stop(self) -> None:
        if self.database:
            self.database.touch()


@pytest.mark.parametrize("writable", [True, False])
def test_a_template_that_was_not_kept_is_said(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prefect.db"
    stub = Stub(path if writable else None)
    monkeypatch.setattr(template, "TEMPLATE", path)
    monkeypatch.setattr(template, "start_separate_server", lambda seconds: stub)
    said = template.main()
    assert said is None if writable else said and str(path) in said
