import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obstore.store import MemoryStore

from tasks.codes import CodesError, confirmed_at, open_published, open_run
from tasks.codes.published import RunFile
from tasks.codes.remote import address as addresses
from tasks.codes.remote import published
from tasks.codes.remote.cache import obtain_file
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.stores.copying import copy_published
from tasks.stores.pointer import read_pointer
from tasks.stores.store import Store, delete_objects, list_objects
from tests.conftest import complete

ADDRESS = "s3://bucket/prefix"


class Counted:
    """A store in memory that tells which objects were read."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.read: list[str] = []
        self.after: Callable[[str], None] = lambda key: None

    def get(self, key: str, **options: Any) -> object:
        found = self.store.get(key, **options)
        self.read.append(key.rpartition("/")[2])
        self.after(key)
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counted:
    counted = Counted()
    monkeypatch.setattr(published, "open_store", lambda address: counted)
    monkeypatch.setenv("AUTOENCODER_CACHE", str(tmp_path / "cache"))
    return counted


@pytest.fixture
def store(counted: Counted, model: ModelRecord, dataset: DatasetRecord, root: Path) -> Store:
    """With a published run; nothing of it is here any more."""
    complete("run-1", model, dataset, root)
    store = Store(counted.store, ADDRESS)
    copy_published(dataset.name, root, store)
    return store


def folder_of(dataset: DatasetRecord, store: Store) -> str:
    read = read_pointer(dataset.name, store)
    assert read is not None
    return read.pointer.folder


def test_only_what_is_asked_for_is_fetched_and_only_once(
    store: Store, counted: Counted, dataset: DatasetRecord, root: Path
) -> None:
    local = open_published(dataset.name, root)
    run = open_published(dataset.name, ADDRESS)
    assert (run.name, run.files, run.bases) == (local.name, local.files, local.bases)
    assert counted.read == [f"{dataset.name}.json", "manifest.json"]
    codes = run.codes("test", "shallow")
    np.testing.assert_array_equal(codes.codes, local.codes("test", "shallow").codes)
    assert counted.read[2:] == ["test.h5"]
    again = open_published(dataset.name, ADDRESS)
    again.codes("test", "shallow")
    assert again.folder == run.folder
    assert counted.read[3:] == [f"{dataset.name}.json"]
    assert run.encoder("shallow").basis == codes.basis
    assert not list(run.folder.rglob(".partial-*"))
    with pytest.raises(CodesError, match="has no file nothing"):
        run.file("nothing")


def test_a_large_file_is_read_in_pieces(
    store: Store, counted: Counted, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_published(dataset.name, ADDRESS)
    (file,) = (file for file in run.files if file.path == "report.md")
    monkeypatch.setattr(addresses, "PIECE", -(-file.size // 3))
    run.file(file.path)
    assert counted.read.count("report.md") == 3


def test_the_environment_may_name_the_store_of_a_reader(
    store: Store, dataset: DatasetRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOENCODER_ARTIFACTS", ADDRESS)
    assert open_published(dataset.name).name == "run-1"
    with pytest.raises(CodesError, match="only open_published and confirmed_at take one"):
        open_run("run-1")


def test_a_damaged_file_of_the_cache_is_fetched_again(
    store: Store, counted: Counted, dataset: DatasetRecord
) -> None:
    run = open_published(dataset.name, ADDRESS)
    path = run.file("report.md")
    expected = path.read_bytes()
    path.write_bytes(b"x" * len(expected))
    assert run.file("report.md").read_bytes() == expected
    assert counted.read.count("report.md") == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-1], "bytes, expected"),
        (lambda content: content * 2, "bytes, expected"),
        (lambda content: content[:-1] + b"!", "report.md is not the file of the run: SHA-256"),
    ],
)
def test_an_object_that_is_not_what_the_manifest_says_is_refused(
    change: Callable[[bytes], bytes], words: str, store: Store, dataset: DatasetRecord
) -> None:
    run = open_published(dataset.name, ADDRESS)
    key = f"{folder_of(dataset, store)}/report.md"
    store.objects.put(key, change(bytes(store.objects.get(key).bytes())))
    with pytest.raises(CodesError, match=words):
        run.file("report.md")
    assert not (run.folder / "report.md").exists()
    assert not list(run.folder.rglob(".partial-*"))


def test_a_manifest_that_is_not_the_pointers_is_refused(
    store: Store, dataset: DatasetRecord
) -> None:
    key = f"{folder_of(dataset, store)}/manifest.json"
    content = bytes(store.objects.get(key).bytes())
    store.objects.put(key, content.replace(b"report.md", b"rep0rt.md"))
    with pytest.raises(CodesError, match="manifest.json is not the file"):
        open_published(dataset.name, ADDRESS)


def test_a_run_that_is_deleted_between_pointer_and_manifest_gives_way_to_the_next(
    store: Store, counted: Counted, model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-2", model, dataset, root)
    old = folder_of(dataset, store)

    def switch(key: str) -> None:
        if key.startswith("published/"):
            counted.after = lambda key: None
            copy_published(dataset.name, root, store)
            delete_objects(list(list_objects(f"{old}/", store)), store)

    counted.after = switch
    assert open_published(dataset.name, ADDRESS).name == "run-2"


def test_a_run_without_its_files_is_an_error(store: Store, dataset: DatasetRecord) -> None:
    old = folder_of(dataset, store)
    delete_objects(list(list_objects(f"{old}/", store)), store)
    with pytest.raises(CodesError, match="manifest.json not found"):
        open_published(dataset.name, ADDRESS)


def test_what_is_too_old_is_refused(store: Store, dataset: DatasetRecord, root: Path) -> None:
    assert confirmed_at(dataset.name, ADDRESS) == confirmed_at(dataset.name, root)
    assert open_published(dataset.name, ADDRESS, max_age=timedelta(hours=1)).name == "run-1"
    with pytest.raises(CodesError, match="was last confirmed 0 minutes ago"):
        open_published(dataset.name, ADDRESS, max_age=timedelta(0))


def test_what_is_not_published_or_damaged_is_named(store: Store, dataset: DatasetRecord) -> None:
    with pytest.raises(CodesError, match=f"No run of the dataset other is published in {ADDRESS}"):
        open_published("other", ADDRESS)
    with pytest.raises(CodesError, match="'../other.json' is not the name of a run or dataset"):
        open_published("../other", ADDRESS)
    for content in (b"", b"{}", b"[1]", b'{"manifest": {"size": 1, "sha256": "../../x"}}'):
        store.objects.put(f"published/{dataset.name}.json", content)
        with pytest.raises(CodesError, match="json is damaged"):
            open_published(dataset.name, ADDRESS)


def test_a_cache_that_cannot_be_written_is_named(
    store: Store, dataset: DatasetRecord, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CodesError, match="AUTOENCODER_CACHE names another folder"):
        open_published(dataset.name, ADDRESS)


@pytest.mark.parametrize("path", ["../escaped", "/etc/escaped", "a/../../escaped"])
def test_a_file_of_a_manifest_never_leaves_the_cache(
    path: str, counted: Counted, tmp_path: Path
) -> None:
    with pytest.raises(CodesError, match="is not the path of a file of a run"):
        obtain_file(tmp_path, RunFile(path, 1, "0" * 64), counted.store, "runs/x", ADDRESS)
