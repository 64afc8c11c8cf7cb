"""Where XLA keeps what it compiled."""

from pathlib import Path

import pytest

from tasks.core import backend
from tasks.core.backend import cache_folder
from tasks.core.errors import StepError
from tests.compilation import VARIABLE


@pytest.fixture(autouse=True)
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the setting names."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_without_the_setting_each_process_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert cache_folder() is None


def test_processes_that_would_compile_the_same_share_a_folder(chosen: Path) -> None:
    folder = cache_folder()
    assert folder == cache_folder()
    assert folder is not None
    assert folder.parent == chosen


@pytest.mark.parametrize("name", ["PROCESSOR", "BOOT"])
def test_another_machine_or_start_of_it_has_another_folder(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = cache_folder()
    (tmp_path / "file").write_text("flags : sse2\n")
    monkeypatch.setattr(backend, name, tmp_path / "file")
    assert cache_folder() != before


def test_other_flags_or_cores_have_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {cache_folder()}
    monkeypatch.setattr(backend, "usable_cores", lambda: 1000)
    folders.add(cache_folder())
    monkeypatch.setenv("AUTOENCODER_XLA_FLAGS", "--xla_cpu_max_isa=AVX")
    folders.add(cache_folder())
    assert len(folders) == 3


def test_where_the_system_tells_nothing_there_is_a_folder_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PROCESSOR", "BOOT"):
        monkeypatch.setattr(backend, name, tmp_path / "absent")
    assert cache_folder()


def test_a_path_that_tensorflow_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/a folder")
    with pytest.raises(StepError, match="AUTOENCODER_COMPILATION_CACHE: /a folder/.* has a space"):
        cache_folder()
