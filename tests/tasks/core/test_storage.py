import errno
import os
from pathlib import Path

import pytest

from tasks.core import storage
from tasks.core.errors import StepError
from tasks.core.storage import (
    atomic_file,
    atomic_folder,
    describe_file,
    prepare_artifacts_folder,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with atomic_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    with pytest.raises(RuntimeError), atomic_file(path) as partial:  # noqa: PT012
        partial.write_text("other")
        raise RuntimeError
    assert path.read_text() == "half"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_others_can_read_what_was_written(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file.txt"):
        pass
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_no_space_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(StepError, match=r"file.txt cannot be written \(No space left on device; "),
        atomic_file(path) as partial,
    ):
        partial.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_folder(path) as partial:
        (partial / "a").mkdir()
        (partial / "a" / "file").write_text("x")
        assert not path.exists()
    assert (path / "a" / "file").read_text() == "x"
    with pytest.raises(RuntimeError), atomic_folder(path):
        raise RuntimeError
    assert (path / "a" / "file").read_text() == "x"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = storage.partial_folder(tmp_path / "folder")
    left.mkdir()
    (left / "old").write_text("x")
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "new").write_text("y")
    assert [entry.name for entry in (tmp_path / "folder").iterdir()] == ["new"]


def test_describes_a_file_by_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    record = describe_file(tmp_path, "abc")
    assert (record.path, record.size) == ("abc", 3)
    assert record.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_artifacts_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(tmp_path))
    assert prepare_artifacts_folder() == tmp_path
    monkeypatch.delenv("AUTOENCODER_ARTIFACTS")
    assert prepare_artifacts_folder().name == "artifacts"


def test_an_artifacts_folder_that_cannot_be_written_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(tmp_path / "file"))
    with pytest.raises(StepError, match=r"cannot be written to \(File exists\): make it writable"):
        prepare_artifacts_folder()
