import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from tasks.codes.published import run_folder
from tasks.core.errors import StepError, TransientError
from tasks.core.records import DatasetRecord
from tasks.models.store import ModelRecord
from tasks.runs import publication
from tasks.runs.journal import Journal, Publication, read_journal
from tasks.runs.outbox import confirm
from tasks.runs.publication import publish
from tasks.stores import copying
from tasks.stores.copying import Copied, copy_published, is_later
from tasks.stores.pointer import Pointer, Read, put_pointer, read_pointer
from tasks.stores.store import Store, is_stored, list_objects, put_file
from tests.conftest import METRICS, complete

WORSE = METRICS.model_copy(update={"reconstruction_mse": 9.0})


class KilledError(Exception):
    """Stands for the end of the process."""


def read(dataset: DatasetRecord, store: Store) -> Read:
    found = read_pointer(dataset.name, store)
    assert found is not None
    return found


def in_store(dataset: DatasetRecord, store: Store) -> str:
    return read(dataset, store).pointer.run


def check_complete(dataset: DatasetRecord, root: Path, store: Store) -> None:
    """The pointer's run is in the store with each byte."""
    pointer = read(dataset, store).pointer
    folder = run_folder(pointer.run, root)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        key = f"{pointer.folder}/{path.relative_to(folder)}"
        assert bytes(store.objects.get(key).bytes()) == path.read_bytes()
    assert is_stored(pointer.manifest, f"{pointer.folder}/manifest.json", store)


def test_nothing_is_copied_where_nothing_is_published(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    assert copy_published(dataset.name, root, store) is None
    complete("run-1", model, dataset, root, metrics=WORSE)
    assert copy_published(dataset.name, root, store) is None
    assert list_objects("", store) == {}


def test_a_run_is_copied_and_the_pointer_leads_to_it(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    copied = copy_published(dataset.name, root, store)
    assert copied == Copied("run-1", store.address, is_own=True)
    check_complete(dataset, root, store)
    pointer = read(dataset, store).pointer
    (entry,) = read_journal(dataset.name, root).publications
    assert (pointer.published, pointer.confirmed) == (entry.time, entry.time)
    assert pointer.superseded == ()


def test_a_refused_run_does_not_move_the_pointer(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    copy_published(dataset.name, root, store)
    before = list_objects("", store), read(dataset, store)
    complete("run-2", model, dataset, root, metrics=WORSE)
    assert copy_published(dataset.name, root, store) == Copied("run-1", store.address, True)
    assert (list_objects("", store), read(dataset, store)) == before


def test_a_confirmation_renews_the_pointer_alone(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    manifest = complete("run-1", model, dataset, root)
    copy_published(dataset.name, root, store)
    first = read(dataset, store).pointer
    confirm(manifest, root)
    with mock.patch.object(copying, "put_file", side_effect=AssertionError):
        copy_published(dataset.name, root, store)
    second = read(dataset, store).pointer
    assert second.confirmed == read_journal(dataset.name, root).confirmed
    assert second.confirmed > first.confirmed
    assert second == first.model_copy(update={"confirmed": second.confirmed})


def test_a_rollback_moves_the_pointer_back(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
        copy_published(dataset.name, root, store)
    assert [run.run for run in read(dataset, store).pointer.superseded] == ["run-1"]
    publish("run-1", root)
    copy_published(dataset.name, root, store)
    assert in_store(dataset, store) == "run-1"
    assert [run.run for run in read(dataset, store).pointer.superseded] == ["run-2"]
    check_complete(dataset, root, store)


def test_only_the_last_of_several_publications_is_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    for run in ("run-1", "run-2"):
        complete(run, model, dataset, root)
    copy_published(dataset.name, root, store)
    assert in_store(dataset, store) == "run-2"
    assert not [key for key in list_objects("", store) if "run-1" in key]


def test_a_switch_that_a_killed_process_did_not_record_is_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    with (
        mock.patch.object(publication, "record_publication", side_effect=KilledError),
        pytest.raises(KilledError),
    ):
        complete("run-1", model, dataset, root)
    copy_published(dataset.name, root, store)
    assert in_store(dataset, store) == "run-1"


def test_an_attempt_goes_on_with_what_a_killed_one_copied(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    stored: list[str] = []

    def put(path: Path, key: str, store: Store) -> None:
        if len(stored) == 3:
            raise KilledError
        stored.append(key)
        put_file(path, key, store)

    with mock.patch.object(copying, "put_file", put), pytest.raises(KilledError):
        copy_published(dataset.name, root, store)
    assert read_pointer(dataset.name, store) is None
    damaged = stored[0]
    store.objects.put(damaged, b"x" * store.objects.head(damaged)["size"])
    stored.clear()

    def put_again(path: Path, key: str, store: Store) -> None:
        stored.append(key)
        put_file(path, key, store)

    with mock.patch.object(copying, "put_file", put_again):
        copy_published(dataset.name, root, store)
    files = run_folder("run-1", root)
    count = sum(path.is_file() for path in files.rglob("*"))
    assert len(stored) == count - 2  # the damaged one anew, the two others not
    assert damaged in stored
    check_complete(dataset, root, store)


def test_a_store_that_changes_bytes_is_noticed(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)

    def put(path: Path, key: str, store: Store) -> None:
        store.objects.put(key, path.read_bytes()[:-1] + b"!")

    with (
        mock.patch.object(copying, "put_file", put),
        pytest.raises(TransientError, match="is not what was stored"),
    ):
        copy_published(dataset.name, root, store)
    assert read_pointer(dataset.name, store) is None


def test_a_run_that_is_damaged_here_is_not_pointed_to(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    (run_folder("run-1", root) / "report.md").write_text("changed")
    with pytest.raises(Exception, match="report.md differs from its manifest") as raised:
        copy_published(dataset.name, root, store)
    assert not isinstance(raised.value, TransientError)
    assert "python -m tasks.runs copy" in str(raised.value)
    assert read_pointer(dataset.name, store) is None


def test_the_loser_of_a_race_decides_again(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    """While it copies, another artifacts folder's run is published, first earlier, then later."""
    complete("run-1", model, dataset, root)
    time = read_journal(dataset.name, root).publications[0].time
    copy_file = copying.copy_file
    for run, published, expected in (
        ("rival-1", time - timedelta(seconds=1), "run-1"),
        ("rival-2", time + timedelta(seconds=1), "rival-2"),
    ):
        store.objects.delete([f"published/{dataset.name}.json"])

        def compete(
            source: Path, *arguments: object, run: str = run, published: datetime = published
        ) -> None:
            if read_pointer(dataset.name, store) is None:
                put_pointer(rival(dataset, run, published), None, store)
            copy_file(source, *arguments)  # type: ignore[arg-type]

        with mock.patch.object(copying, "copy_file", compete):
            copied = copy_published(dataset.name, root, store)
        assert copied == Copied(expected, store.address, is_own=expected == "run-1")
        assert in_store(dataset, store) == expected


def rival(dataset: DatasetRecord, run: str, published: datetime) -> Pointer:
    return Pointer.model_validate(
        {
            "dataset": dataset.name,
            "run": run,
            "folder": f"runs/20260101T000000Z-{run}",
            "manifest": {"path": "manifest.json", "size": 1, "sha256": "0" * 64},
            "published": published,
            "confirmed": published,
        }
    )


def test_the_journal_knows_the_order_of_its_own_publications_without_a_clock(
    dataset: DatasetRecord,
) -> None:
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    late, early = (
        Publication(run=run, time=noon + timedelta(hours=hours), codes_sha256={})
        for run, hours in (("run-1", 1), ("run-2", 0))  # the clock was set back between them
    )
    journal = Journal(publications=(late, early))
    assert not is_later(rival(dataset, "run-1", late.time), early, journal)
    assert not is_later(rival(dataset, "run-2", late.time), early, journal)
    # Published again from another artifacts folder, or another run.
    assert is_later(rival(dataset, "run-1", late.time + timedelta(hours=1)), early, journal)
    assert is_later(rival(dataset, "run-3", noon + timedelta(seconds=1)), early, journal)
    assert not is_later(rival(dataset, "run-3", noon - timedelta(seconds=1)), early, journal)


def test_a_copy_that_took_too_long_is_not_pointed_to(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    with (
        mock.patch.object(copying, "age_of", return_value=timedelta(hours=13)),
        pytest.raises(TransientError, match="took too long"),
    ):
        copy_published(dataset.name, root, store)
    assert read_pointer(dataset.name, store) is None


def test_a_damaged_pointer_is_named(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store
) -> None:
    complete("run-1", model, dataset, root)
    store.objects.put(f"published/{dataset.name}.json", json.dumps({"run": "x"}).encode())
    with pytest.raises(StepError, match=f"{store.address}/published/{dataset.name}.json is damag"):
        copy_published(dataset.name, root, store)
