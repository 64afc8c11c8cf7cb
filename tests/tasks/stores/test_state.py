import hashlib
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from tasks.core.errors import TransientError
from tasks.core.records import DatasetRecord
from tasks.models.checkpoints import Progress
from tasks.models.obtain import TrainingStoppedError, obtain_model
from tasks.models.store import ModelRecord
from tasks.stores import state
from tasks.stores.state import checkpoints_copied
from tasks.stores.store import Store, list_objects
from tests.conftest import SPEC
from tests.waiting import wait_until

FINGERPRINT = "f" * 64
PREFIX = f"state/{FINGERPRINT}/"


def name(content: bytes, epoch: int) -> str:
    return f"{epoch:06d}-000000-{hashlib.sha256(content).hexdigest()}.npz"


@pytest.fixture
def folder(root: Path) -> Path:
    folder = root / "models" / FINGERPRINT / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "COPY_SECONDS", 0.0)
    monkeypatch.setattr(state, "LOOK_SECONDS", 0.01)


def save(folder: Path, content: bytes, epoch: int) -> str:
    """As `Checkpoints` does: the new one, then away with the one before the last."""
    path = folder / name(content, epoch)
    path.write_bytes(content)
    for old in sorted(folder.iterdir())[:-2]:
        old.unlink()
    return path.name


def copies(store: Store) -> list[str]:
    return [key.removeprefix(PREFIX) for key in list_objects(PREFIX, store)]


@pytest.mark.usefixtures("hurried")
def test_the_newest_checkpoint_is_copied_while_the_training_goes_on(
    folder: Path, root: Path, store: Store
) -> None:
    with checkpoints_copied(FINGERPRINT, root, store):
        for epoch in range(3):
            newest = save(folder, b"state %d" % epoch, epoch)
            wait_until(lambda newest=newest: copies(store) == [newest])  # type: ignore[misc]
    assert copies(store) == [], "nobody resumes a training that is complete"


def test_an_interruption_copies_the_last_checkpoint(folder: Path, root: Path, store: Store) -> None:
    """Within the minute."""
    with suppress(KeyboardInterrupt), checkpoints_copied(FINGERPRINT, root, store):
        save(folder, b"first", 1)
        last = save(folder, b"second", 2)
        raise KeyboardInterrupt
    assert copies(store) == [last]


def test_a_training_without_checkpoints_gets_the_newest_undamaged_copy(
    root: Path, store: Store
) -> None:
    folder = root / "models" / FINGERPRINT / "checkpoints"
    sound = name(b"sound", 1)
    store.objects.put(PREFIX + name(b"older", 0), b"older")
    store.objects.put(PREFIX + sound, b"sound")
    store.objects.put(PREFIX + name(b"whole", 2), b"half")
    with suppress(KeyboardInterrupt), checkpoints_copied(FINGERPRINT, root, store):
        assert [path.name for path in folder.iterdir()] == [sound]
        assert (folder / sound).read_bytes() == b"sound"
        raise KeyboardInterrupt


def test_a_training_with_checkpoints_keeps_its_own(folder: Path, root: Path, store: Store) -> None:
    own = save(folder, b"own", 1)
    store.objects.put(PREFIX + name(b"other", 9), b"other")
    with checkpoints_copied(FINGERPRINT, root, store):
        assert [path.name for path in folder.iterdir()] == [own]


@pytest.mark.usefixtures("hurried")
def test_a_store_that_is_away_stops_no_training(
    folder: Path, root: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    failed = mock.Mock(side_effect=TransientError("it is away"))
    with (
        mock.patch.object(state, "put_file", failed),
        mock.patch.object(state, "list_objects", failed),
        checkpoints_copied(FINGERPRINT, root, store),
    ):
        save(folder, b"state", 1)
        wait_until(lambda: failed.call_count >= 3)
    assert "A checkpoint cannot be copied to the object store: it is away" in caplog.messages


def test_a_training_that_lost_its_disk_is_resumed_with_the_same_bits(
    model: ModelRecord, dataset: DatasetRecord, root: Path, store: Store, tmp_path: Path
) -> None:
    spec = SPEC.model_copy(update={"seed": 1})
    whole = obtain_model(dataset, spec, "cpu", root, lambda progress: None)
    fingerprint, resumed = whole.fingerprint, []

    def train(folder: Path, stop_after: int) -> ModelRecord | None:
        (folder / "datasets").mkdir(parents=True)
        (folder / dataset.folder).symlink_to(root / dataset.folder)

        def report(progress: Progress) -> None:
            resumed.append(progress.steps_done)
            if progress.steps_done >= stop_after:
                raise TrainingStoppedError

        with checkpoints_copied(fingerprint, folder, store):
            return obtain_model(dataset, spec, "cpu", folder, report)

    with pytest.raises(TrainingStoppedError):
        train(tmp_path / "evicted", 1)
    stopped = resumed[-1]
    assert len(list_objects(f"state/{fingerprint}/", store)) == 1
    resumed.clear()
    again = train(tmp_path / "elsewhere", 10**6)
    assert again is not None
    assert resumed[0] > stopped
    assert again.weights_sha256 == whole.weights_sha256
    assert list_objects("state/", store) == {}
