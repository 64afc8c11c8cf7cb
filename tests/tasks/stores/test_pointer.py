from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from obstore.store import LocalStore, MemoryStore

from tasks.core.errors import StepError
from tasks.stores.pointer import Pointer, check_conditions, put_pointer, read_pointer
from tasks.stores.store import Store, list_objects

HOUR = timedelta(hours=1)


def pointer_to(run: str, **fields: object) -> Pointer:
    time = datetime(2026, 11, 26, tzinfo=UTC)
    record = {
        "dataset": "mine",
        "run": run,
        "folder": f"runs/{run}",
        "manifest": {"path": "manifest.json", "size": 1, "sha256": "0" * 64},
        "published": time,
        "confirmed": time,
    }
    return Pointer.model_validate(record | fields)


def test_a_pointer_is_replaced_by_whoever_read_it_last(store: Store) -> None:
    first, second = pointer_to("run-1"), pointer_to("run-2")
    assert read_pointer("mine", store) is None
    assert put_pointer(first, None, store)
    assert not put_pointer(second, None, store)
    read = read_pointer("mine", store)
    assert read is not None
    assert read.pointer == first
    assert put_pointer(second, read, store)
    assert not put_pointer(first, read, store)
    last = read_pointer("mine", store)
    assert last is not None
    assert last.pointer == second


def superseded(pointer: Pointer) -> list[str]:
    return [run.run for run in pointer.superseded]


def test_as_many_runs_are_kept_as_settings_say() -> None:
    pointer = pointer_to("run-1")
    for number in range(2, 6):
        pointer = pointer_to(f"run-{number}").supersede(pointer, 3, timedelta(0))
    assert superseded(pointer) == ["run-3", "run-4"]
    assert superseded(pointer_to("run-6").supersede(pointer, 1, timedelta(0))) == []


def test_no_run_is_dropped_within_its_grace() -> None:
    pointer = pointer_to("run-1")
    for number in range(2, 6):
        pointer = pointer_to(f"run-{number}").supersede(pointer, 1, HOUR)
    assert superseded(pointer) == ["run-1", "run-2", "run-3", "run-4"]
    old = pointer.superseded[0].model_copy(update={"time": datetime.now(UTC) - 2 * HOUR})
    pointer = pointer.model_copy(update={"superseded": (old, *pointer.superseded[1:])})
    after = pointer_to("run-6").supersede(pointer, 1, HOUR)
    assert superseded(after) == ["run-2", "run-3", "run-4", "run-5"]


def test_a_run_that_is_published_again_from_its_folder_is_not_superseded() -> None:
    pointer = pointer_to("run-2").supersede(pointer_to("run-1"), 5, HOUR)
    assert superseded(pointer_to("run-1").supersede(pointer, 5, HOUR)) == ["run-2"]


def test_fields_of_a_later_version_are_ignored(store: Store) -> None:
    content = pointer_to("run-1").model_dump_json().replace("{", '{"new": 1,', 1)
    store.objects.put("published/mine.json", content.encode())
    read = read_pointer("mine", store)
    assert read is not None
    assert read.pointer == pointer_to("run-1")


def test_a_store_with_conditional_puts_is_accepted_and_left_as_it_was(store: Store) -> None:
    check_conditions(store)
    assert list_objects("", store) == {}


class Careless:
    """A store that ignores all conditions, as some servers do."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def put(self, key: str, content: bytes, **_options: Any) -> object:
        return self.store.put(key, content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture
def unfit(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    local = LocalStore(tmp_path_factory.mktemp("store"))  # has no conditional replacement
    return [Store(Careless(), "s3://careless"), Store(local, "file")]  # type: ignore[arg-type]


def test_a_store_without_conditional_puts_is_refused(unfit: list[Store]) -> None:
    for store, words in zip(unfit, ("ignores the conditions", "PutMode::Update"), strict=True):
        with pytest.raises(StepError, match=words) as raised:
            check_conditions(store)
        assert "\n" not in str(raised.value)
        assert list_objects("", store) == {}
