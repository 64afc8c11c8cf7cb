import stat
from pathlib import Path

import pytest

from flows.server.serve import obtain_password, serving_environment


def test_the_password_is_made_once_and_only_the_user_can_read_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    password = obtain_password(home)
    assert obtain_password(home) == password
    assert password.startswith("admin:")
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_runs_read_no_images_outside_the_home_folder_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOENCODER_DATA_ROOT", raising=False)
    assert serving_environment(tmp_path, 1)["AUTOENCODER_DATA_ROOT"] == str(Path.home())
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", "/data")
    assert serving_environment(tmp_path, 1)["AUTOENCODER_DATA_ROOT"] == "/data"


def test_nothing_calls_home_from_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    environment = serving_environment(tmp_path, 4200)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
