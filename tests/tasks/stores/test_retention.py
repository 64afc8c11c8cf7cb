from datetime import UTC, datetime, timedelta

import pytest

from tasks.stores.folders import LEAST_AGE, MOST_AGE, STAMP, age_of, choose_folder, list_copies
from tasks.stores.pointer import put_pointer
from tasks.stores.retention import delete_unneeded
from tasks.stores.store import Store, list_objects
from tests.tasks.stores.test_pointer import pointer_to

HOUR = timedelta(hours=1)


def folder(run: str, age: timedelta) -> str:
    return f"runs/{datetime.now(UTC) - age:{STAMP}}-{run}"


def put(store: Store, *folders: str) -> None:
    for name in folders:
        for file in ("manifest.json", "codes/test.h5"):
            store.objects.put(f"{name}/{file}", b"1")


def test_a_young_folder_of_the_run_is_gone_on_with(store: Store) -> None:
    young = folder("run-1", MOST_AGE - HOUR)
    put(store, folder("run-1", MOST_AGE + HOUR), young, folder("other-run-1", HOUR))
    assert choose_folder("run-1", store) == young
    new = choose_folder("run-2", store)
    assert new.endswith("Z-run-2")
    assert age_of(new) < HOUR


def test_old_folders_that_no_pointer_names_are_deleted(store: Store) -> None:
    old, young = LEAST_AGE + HOUR, LEAST_AGE - HOUR
    published, kept, left, begun = (
        folder("run-3", old),
        folder("run-2", old),
        folder("run-1", old),
        folder("run-4", young),
    )
    foreign = "runs/somebody-elses"
    put(store, published, kept, left, begun, foreign)
    earlier = pointer_to("run-2", folder=kept)
    pointer = pointer_to("run-3", folder=published).supersede(earlier, 2, HOUR)
    assert put_pointer(pointer, None, store)
    delete_unneeded(store)
    assert list_copies(store) == sorted([published, kept, begun, foreign])


def test_nothing_is_deleted_while_a_pointer_cannot_be_read(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, folder("run-1", 2 * LEAST_AGE))
    store.objects.put("published/mine.json", b"{")
    before = list_objects("", store)
    delete_unneeded(store)
    assert list_objects("", store) == before
    (line,) = caplog.messages
    assert "published/mine.json is damaged" in line
