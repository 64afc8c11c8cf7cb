import os
from pathlib import Path

import pytest

from tasks.core.cores import usable_cores
from tasks.core.errors import StepError
from tasks.core.settings import read_settings


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AUTOENCODER_")]:
        monkeypatch.delenv(name)


def test_without_variables_the_defaults_hold() -> None:
    settings = read_settings()
    assert (settings.data_root, settings.dask_scheduler, settings.xla_flags) == (None, None, "")
    assert settings.runner == "threads"
    assert settings.workers == usable_cores()


def test_variables_are_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", "/data")
    monkeypatch.setenv("AUTOENCODER_WORKERS", "3")
    assert read_settings().data_root == Path("/data")
    assert read_settings().workers == 3
    monkeypatch.setenv("AUTOENCODER_WORKERS", "4")
    assert read_settings().workers == 4


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", "")
    monkeypatch.setenv("AUTOENCODER_DASK_SCHEDULER", "")
    settings = read_settings()
    assert settings.data_root is None
    assert settings.dask_scheduler is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("WORKERS", "0", "workers: Input should be greater than or equal to 1, found '0'"),
        ("RUNNER", "ray", "runner: Input should be 'threads' or 'dask', found 'ray'"),
        ("DASK_SCHEDULER", "localhost", "dask_scheduler: String should match pattern"),
        ("DASK_SCHEDULER", "tcp://host:8786", "set AUTOENCODER_RUNNER to dask too"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AUTOENCODER_{name}", value)
    with pytest.raises(StepError, match=reason) as refusal:
        read_settings()
    assert "AUTOENCODER_" in str(refusal.value)
    assert "\n" not in str(refusal.value)
