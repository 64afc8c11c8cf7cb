import os
from pathlib import Path

import pytest

from tasks.core import cores
from tasks.core.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores_without_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "OLD_QUOTA", (tmp_path / "quota", tmp_path / "period"))


def test_the_cores_that_the_process_may_run_on_count() -> None:
    assert usable_cores() == 8


def test_where_the_system_has_no_affinity_every_core_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MacOS has none; every command reads the settings, so it could not start there at all."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("1600000 100000", 8),
        ("", 8),
    ],
)
def test_a_container_s_quota_counts(quota: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("50000", 1), ("250000", 3)])
def test_so_it_does_in_cgroups_of_version_1(quota: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "quota").write_text(f"{quota}\n")
    (tmp_path / "period").write_text("100000\n")
    assert usable_cores() == expected
