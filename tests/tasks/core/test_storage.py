import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path
from unittest import mock

import pytest

from tasks.core import storage
from tasks.core.errors import StepError, TransientError
from tasks.core.exchange import exchange
from tasks.core.records import FileRecord, Record
from tasks.core.storage import (
    atomic_file,
    atomic_folder,
    copy_file,
    describe_file,
    load_or_compute,
    prepare_artifacts_folder,
    read_intact,
    write_errors_explained,
    write_record,
)


@pytest.fixture(autouse=True)
def unsynced() -> None:
    """Here files are written to the disk, unlike in other tests."""


class FileList(Record):
    files: tuple[FileRecord, ...] = ()


@pytest.fixture
def record(tmp_path: Path) -> FileList:
    """A record in `list.json` of two files beside it."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    record = FileList(files=(describe_file(tmp_path, "a"), describe_file(tmp_path, "b")))
    write_record(tmp_path / "list.json", record)
    return record


def read_list(folder: Path) -> FileList | None:
    return read_intact(folder / "list.json", FileList, lambda record: record.files)


def test_a_record_is_read_if_its_files_are_intact(
    record: FileList, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_list(tmp_path) == record
    assert read_list(tmp_path / "absent") is None
    assert not caplog.messages


@pytest.mark.parametrize("name", ["a", "b", "list.json"])
@pytest.mark.parametrize("content", ["", "x", None])
def test_damage_to_a_file_of_a_record_is_logged_in_one_line(
    name: str,
    content: str | None,
    record: FileList,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if content is None:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    assert read_list(tmp_path) is None
    (message,) = caplog.messages
    assert message.startswith(f"Ignored {tmp_path}, which is damaged (")
    assert name in message
    assert "\n" not in message


def test_what_an_earlier_attempt_computed_is_not_computed_again(
    record: FileList, tmp_path: Path
) -> None:
    def fail() -> FileList:
        raise AssertionError

    assert load_or_compute(tmp_path / "list.json", FileList, fail) == record
    (tmp_path / "list.json").write_text("{")
    assert load_or_compute(tmp_path / "list.json", FileList, FileList) == FileList()
    assert load_or_compute(tmp_path / "list.json", FileList, fail) == FileList()


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


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o000])
@pytest.mark.parametrize("bits", [0o700, 0o750, 0o755])
def test_what_is_written_is_as_readable_as_the_artifacts_folder(
    bits: int, umask: int, tmp_path: Path
) -> None:
    root = tmp_path / "artifacts"
    root.mkdir()
    root.chmod(bits)
    before = os.umask(umask)
    try:
        with atomic_file(root / "publications" / "file.txt"):
            pass
        with atomic_folder(root / "runs" / "run-1") as partial:
            (partial / "codes").mkdir()
            (partial / "codes" / "test.h5").touch()
    finally:
        os.umask(before)
    found = list(root.rglob("*"))
    assert len(found) == 6
    for entry in found:
        readable = 0o055 if entry.is_dir() else 0o044
        assert entry.stat().st_mode & readable == bits & readable, entry


def test_a_folder_keeps_the_group_of_its_parent(tmp_path: Path) -> None:
    """The bit that makes files take the folder's group, and with it what the group may do."""
    tmp_path.chmod(0o2750)
    storage.make_folder(tmp_path / "runs")
    assert (tmp_path / "runs").stat().st_mode & 0o2050 == 0o2050


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


@pytest.mark.parametrize(
    ("reason", "kind", "expected"),
    [
        (errno.EIO, TransientError, r"file.txt cannot be written \(Input/output error\): remedy"),
        (errno.EBUSY, TransientError, r"\(Device or resource busy\): remedy that, or name"),
        (errno.ENOSPC, StepError, r"\(No space left on device; [0-9]+ MB are free there\): make"),
        (errno.EDQUOT, StepError, r"\(Disk quota exceeded; [0-9]+ MB are free there\): make room"),
        (errno.EPERM, StepError, r"\(Operation not permitted\): remedy that"),
        (errno.EISDIR, StepError, r"\(Is a directory\): remedy that"),
        (errno.EINVAL, StepError, r"\(Invalid argument\): remedy that"),
        (None, TransientError, r"\(a message of a library\): remedy that"),
    ],
)
def test_a_failed_write_is_retried_if_it_may_pass(
    reason: int | None, kind: type[StepError], expected: str, tmp_path: Path
) -> None:
    text = os.strerror(reason) if reason else "a message of a library"
    with pytest.raises(kind, match=expected), atomic_file(tmp_path / "file.txt"):
        raise OSError(reason, text) if reason else OSError(text)
    assert not list(tmp_path.iterdir())


def test_a_missing_input_is_not_told_as_a_failed_write(tmp_path: Path) -> None:
    source, target = tmp_path / "inputs" / "a.npy", tmp_path / "results" / "b.npy"
    with pytest.raises(
        StepError, match=r"a\.npy cannot be read \(No such file or directory\), which .*b\.npy is"
    ):
        copy_file(source, target)


def test_a_copy_onto_a_full_disk_is_told_as_a_failed_write(tmp_path: Path) -> None:
    """The system names both files."""
    error = OSError(errno.ENOSPC, "x", str(tmp_path / "inputs" / "a"), None, "b")
    with (
        pytest.raises(StepError, match=r"b cannot be written \(No space left on device; "),
        write_errors_explained(tmp_path / "results" / "b"),
    ):
        raise error


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


@pytest.mark.parametrize("supported", [True, False])
def test_a_folder_is_never_seen_in_part_while_it_is_replaced(
    supported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands there whenever something is deleted: the new one, whole."""
    path, seen = tmp_path / "neighbors" / "run-1", []
    with atomic_folder(path) as partial:
        (partial / "a").write_text("old")
        (partial / "b").write_text("old")
    remove = shutil.rmtree

    def look_and_remove(folder: Path, ignore_errors: bool = False) -> None:
        seen.append({entry.name: entry.read_text() for entry in path.iterdir()})
        remove(folder, ignore_errors)

    with atomic_folder(path) as partial:
        (partial / "a").write_text("new")
        (partial / "b").write_text("new")
        monkeypatch.setattr(shutil, "rmtree", look_and_remove)
        if not supported:
            monkeypatch.setattr(storage, "exchange", lambda *_: False)
    assert {"a": "new", "b": "new"} in seen
    assert all(found in ({"a": x, "b": x} for x in ("old", "new")) for found in seen)
    assert list(path.parent.iterdir()) == [path]


def test_readers_find_a_folder_at_every_moment_while_it_is_replaced(tmp_path: Path) -> None:
    path, ended, missed = tmp_path / "neighbors" / "run-1", threading.Event(), []
    with atomic_folder(path) as partial:
        (partial / "file").touch()
    if not exchange(path, path):
        pytest.skip("this file system cannot exchange two names")

    def read() -> None:
        while not ended.is_set():
            try:
                (path / "file").stat()
            except FileNotFoundError as error:
                missed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        with atomic_folder(path) as partial:
            (partial / "file").touch()
    ended.set()
    reader.join()
    assert not missed


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
    assert prepare_artifacts_folder() == Path(__file__).parents[3] / "artifacts"


def test_an_artifacts_folder_on_a_disk_with_a_passing_error_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(tmp_path))
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(tempfile, "TemporaryFile", mock.Mock(side_effect=error))
    with pytest.raises(TransientError, match=r"cannot be written to \(Input/output error\)"):
        prepare_artifacts_folder()


def test_an_artifacts_folder_that_cannot_be_written_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", str(tmp_path / "file"))
    with pytest.raises(StepError, match=r"cannot be written to \(File exists\): make it writable"):
        prepare_artifacts_folder()
