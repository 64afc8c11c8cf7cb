import hashlib
import json
from pathlib import Path

import pytest

from tasks.codes import CodesError, open_published
from tasks.core.errors import StepError, TransientError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord, stored_model
from tasks.runs.journal import read_journal
from tasks.runs.lookup import check_files, published_run
from tasks.runs.manifest import read_manifest
from tasks.runs.outbox import find_unannounced
from tasks.stores.copying import copy_published
from tasks.stores.pointer import read_pointer
from tasks.stores.restoring import restore_published
from tasks.stores.store import Store
from tests.conftest import complete


@pytest.fixture
def empty(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store, tmp_path: Path
) -> Path:
    """Another artifacts folder; what the first one published is in the store."""
    complete("run-1", model, dataset, root)
    copy_published(dataset.name, root, store)
    return tmp_path / "elsewhere"


def key_of(file: str, dataset: DatasetRecord, store: Store) -> str:
    read = read_pointer(dataset.name, store)
    assert read is not None
    return f"{read.pointer.folder}/{file}"


def test_an_empty_folder_gets_the_published_run_with_its_models(
    empty: Path, model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    before = read_pointer(dataset.name, store)
    assert restore_published(dataset.name, empty, store) == "run-1"
    run = open_published(dataset.name, empty)
    assert (run.name, run.files) == ("run-1", open_published(dataset.name, root).files)
    check_files(run.folder, read_manifest(run.folder).files)
    assert stored_model(empty / model.folder) == model
    (here,), (there,) = (read_journal(dataset.name, r).publications for r in (empty, root))
    assert here.time == there.time
    assert find_unannounced(dataset.name, empty) is None, "it was announced where it was made"
    copy_published(dataset.name, empty, store)
    assert read_pointer(dataset.name, store) == before


def test_what_is_published_here_stays(
    empty: Path, model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-2", model, dataset, root)
    assert restore_published(dataset.name, root, store) is None
    assert published_run(dataset.name, root) == "run-2"


def test_nothing_is_fetched_where_the_store_has_nothing(
    dataset: DatasetRecord, root: Path, store: Store
) -> None:
    assert restore_published(dataset.name, root, store) is None
    assert not (root / "published").exists()


def test_an_object_that_was_changed_is_refused_and_fetched_when_it_is_whole_again(
    empty: Path, dataset: DatasetRecord, store: Store
) -> None:
    key = key_of("report.md", dataset, store)
    content = bytes(store.objects.get(key).bytes())
    for changed in (content[:-1], content[:-1] + b"!"):
        store.objects.put(key, changed)
        with pytest.raises(TransientError, match="report.md is not the file of the run"):
            restore_published(dataset.name, empty, store)
        assert published_run(dataset.name, empty) is None
        assert not (empty / "runs" / "run-1").exists()
    store.objects.put(key, content)
    assert restore_published(dataset.name, empty, store) == "run-1"


def test_a_manifest_that_leads_out_of_its_folder_or_is_of_another_run_is_refused(
    empty: Path, dataset: DatasetRecord, store: Store
) -> None:
    pointer_key = f"published/{dataset.name}.json"
    pointer = json.loads(bytes(store.objects.get(pointer_key).bytes()))
    key = key_of("manifest.json", dataset, store)
    manifest = json.loads(bytes(store.objects.get(key).bytes()))
    outside = [{**manifest["files"][0], "path": "../../escaped"}]
    for change, error in (
        ({"files": outside}, CodesError),
        ({"run": "run-9"}, StepError),
    ):
        content = json.dumps({**manifest, **change}).encode()
        store.objects.put(key, content)
        pointer["manifest"]["sha256"] = hashlib.sha256(content).hexdigest()
        pointer["manifest"]["size"] = len(content)
        store.objects.put(pointer_key, json.dumps(pointer).encode())
        with pytest.raises(error):
            restore_published(dataset.name, empty, store)
        assert published_run(dataset.name, empty) is None
