import os
from pathlib import Path

import pytest

from tasks.core import cores
from tasks.core.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores_without_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "OWN_CGROUPS", tmp_path / "own")


def write_quotas(folder: Path, own: str, quotas: dict[str, str]) -> None:
    """Lay out files as the kernel shows them; a quota without a period is one of version 1."""
    (folder / "own").write_text(own)
    for group, quota in quotas.items():
        path = folder / "cgroup" / group
        path.mkdir(parents=True, exist_ok=True)
        if " " in quota or not quota:
            (path / "cpu.max").write_text(f"{quota}\n")
        else:
            (path / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (path / "cpu.cfs_period_us").write_text("100000\n")


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
    write_quotas(tmp_path, "0::/\n", {"": quota})
    assert usable_cores() == expected


SYSTEMD = "0::/system.slice/night.slice/job.service\n"
OLD = "4:memory:/\n2:cpu,cpuacct:/night/job\n1:name=systemd:/x:y\n0::/elsewhere\n"


@pytest.mark.parametrize(
    ("own", "quotas", "expected"),
    [
        pytest.param(
            SYSTEMD,
            {
                "system.slice": "max 100000",
                "system.slice/night.slice": "200000 100000",
                "system.slice/night.slice/job.service": "400000 100000",
            },
            2,
            id="of the slice around a service",
        ),
        pytest.param(
            SYSTEMD,
            {
                "system.slice/night.slice/job.service": "150000 50000",
                "system.slice/night.slice/other.service": "100000 100000",
            },
            3,
            id="of the service, not of its neighbour",
        ),
        pytest.param(OLD, {"cpu": "-1", "cpu/night/job": "-1"}, 8, id="version 1, none"),
        pytest.param(OLD, {"cpu/night": "250000", "cpu/night/job": "-1"}, 3, id="version 1"),
        pytest.param(OLD, {"cpu,cpuacct/night/job": "50000"}, 1, id="version 1, another name"),
        pytest.param(
            "2:cpu,cpuacct:/docker/0123\n", {"cpu": "50000"}, 1, id="version 1, in a container"
        ),
        pytest.param("0::/../other\n", {"": "100000 100000"}, 1, id="outside of what it can see"),
        pytest.param("", {}, 8, id="no cgroups"),
    ],
)
def test_the_least_of_the_quotas_around_the_process_counts(
    own: str, quotas: dict[str, str], expected: int, tmp_path: Path
) -> None:
    write_quotas(tmp_path, own, quotas)
    assert usable_cores() == expected
