import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ModelError, StepError
from tasks.core.records import DatasetRecord
from tasks.models import obtain
from tasks.models.checkpoints import Checkpoints, Position, Progress, TrainingState
from tasks.models.fingerprint import fingerprint_of
from tasks.models.obtain import TrainingStoppedError, estimate_memory, obtain_model
from tasks.models.store import ModelRecord, basis_file, read_history, stored_model
from tests.conftest import SPEC, anchor_to
from tests.waiting import SOON, wait_until


def ignore(progress: Progress) -> None:
    """Take no notice."""


def test_is_not_trained_twice(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress: list[Progress] = []
    with caplog.at_level(logging.INFO):
        assert obtain_model(dataset, SPEC, "cpu", root, progress.append) == model
    assert not progress
    assert "not trained again" in caplog.text


def test_what_a_kill_left_beside_a_stored_model_is_cleared(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    left = Checkpoints(root / model.folder / "checkpoints", model.fingerprint)
    left.save(TrainingState(Position(), []))
    obtain_model(dataset, SPEC, "cpu", root, ignore)
    assert not left.folder.exists()


def test_a_changed_byte_is_noticed_and_the_model_trained_anew(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("autoencoder.keras", "encoder.keras", "history.json"):
        path = root / model.folder / name
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[len(changed) // 2] ^= 1
        path.write_bytes(changed)
        assert stored_model(root / model.folder) is None
        assert f"is damaged ({name})" in caplog.text
        path.write_bytes(whole)
    path.write_bytes(changed)
    again = obtain_model(dataset, SPEC, "cpu", root, ignore)
    assert again.weights_sha256 == model.weights_sha256
    assert stored_model(root / model.folder) == again


def test_a_training_that_takes_more_memory_than_there_is_is_refused_with_the_numbers(
    dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = dataset.model_copy(
        update={"image_shape": (1024, 1024), "rows": {"train": 100000, "test": 1}}
    )
    recipe = SPEC.recipe.model_copy(update={"batch_size": 65536})
    spec = SPEC.model_copy(update={"recipe": recipe})
    monkeypatch.setattr(obtain, "total_memory", lambda: 512 * 2**30)
    # 65,536 images twice are 128 GiB, and 1024 as float32: input and output, with gradients.
    with pytest.raises(
        ModelError,
        match=r"the shallow model \(1048576-32-1048576\) in batches of 65536 images takes at least "
        r"1153\.0 GiB, and there are 512\.0 GiB of memory: choose smaller",
    ):
        obtain_model(huge, spec, "cpu", root, ignore)
    few = huge.model_copy(update={"rows": {"train": 20, "test": 1}})
    assert estimate_memory(few, spec) < 2 * 2**30


@pytest.fixture
def sigint_raises() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where a shell's & made SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_training_resumes_to_the_same_bits(
    dataset: DatasetRecord,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    sigint_raises: None,
) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt(progress: Progress) -> None:
        if progress.epochs_done == 3:
            signal.pthread_kill(main_thread, signal.SIGINT)
        time.sleep(0.01)

    caplog.set_level(logging.INFO)
    spec = SPEC.model_copy(update={"recipe": SPEC.recipe.model_copy(update={"epochs": 30})})
    with pytest.raises(KeyboardInterrupt):
        obtain_model(dataset, spec, "cpu", root, interrupt)
    folder = root / "models" / fingerprint_of(dataset, spec, "cpu")
    assert stored_model(folder) is None
    assert list(folder.glob("checkpoints/*.npz"))

    resumed = obtain_model(dataset, spec, "cpu", root, ignore)
    assert "Resuming the shallow model in epoch" in caplog.text
    assert not (folder / "checkpoints").exists()

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root / "datasets", elsewhere / "datasets")
    whole = obtain_model(dataset, spec, "cpu", elsewhere, ignore)
    assert resumed.weights_sha256 == whole.weights_sha256
    assert read_history(resumed, root) == read_history(whole, elsewhere)


def test_a_training_that_is_told_to_stop_stores_its_state(
    dataset: DatasetRecord, root: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.epochs_done == 3:
            raise TrainingStoppedError

    spec = SPEC.model_copy(update={"recipe": SPEC.recipe.model_copy(update={"epochs": 30})})
    with pytest.raises(TrainingStoppedError):
        obtain_model(dataset, spec, "cpu", root, stop)
    folder = root / "models" / fingerprint_of(dataset, spec, "cpu") / "checkpoints"
    assert max(path.name[:13] for path in folder.iterdir()) == "000003-000000"


def test_an_interruption_at_the_very_start_stops_the_training(
    dataset: DatasetRecord, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InterruptedExecutor(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            super().submit(*arguments, **options)
            raise KeyboardInterrupt

    monkeypatch.setattr(obtain, "ThreadPoolExecutor", InterruptedExecutor)
    spec = SPEC.model_copy(update={"recipe": SPEC.recipe.model_copy(update={"epochs": 9999})})
    reports: list[Progress] = []
    with pytest.raises(KeyboardInterrupt):
        obtain_model(dataset, spec, "cpu", root, reports.append)
    assert all(progress.epochs_done < 9999 for progress in reports)
    folder = root / "models" / fingerprint_of(dataset, spec, "cpu") / "checkpoints"
    assert list(folder.glob("[!.]*"))


def test_two_that_want_the_same_model_train_it_once(
    dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    training = threading.Event()

    def hold(progress: Progress) -> None:
        training.set()
        wait_until(lambda: "Waiting for another process" in caplog.text)

    progress: list[Progress] = []
    with ThreadPoolExecutor(2) as executor:
        first = executor.submit(obtain_model, dataset, SPEC, "cpu", root, hold)
        assert training.wait(SOON)
        second = executor.submit(obtain_model, dataset, SPEC, "cpu", root, progress.append)
        assert first.result() == second.result()
    assert not progress
    assert "Waiting for another process that holds the lock model-" in caplog.text
    assert "not trained again" in caplog.text


def test_retraining_can_be_forced(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    progress: list[Progress] = []
    again = obtain_model(dataset, SPEC, "cpu", root, progress.append, retrain=True)
    assert progress
    assert again.weights_sha256 == model.weights_sha256
    assert "its training differs" not in caplog.text


def test_a_failing_training_tells_its_own_error(dataset: DatasetRecord, root: Path) -> None:
    recipe = SPEC.recipe.model_copy(update={"peak_learning_rate": 1e30})
    with pytest.raises(StepError, match="lower the peak learning rate"):
        obtain_model(
            dataset, SPEC.model_copy(update={"recipe": recipe}), "cpu", root, report=ignore
        )


def test_the_log_says_what_differs_from_a_model_that_exists(
    model: ModelRecord, dataset: DatasetRecord, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of several, the one that differs least is named; another model's facts do not count."""
    facts = json.loads((root / model.folder / "fingerprint.json").read_text())
    for number, changes in enumerate(
        (
            {"keras": "2", "tensorflow": "1", "seed": 7, "recipe.epochs": 1},
            {"architecture.name": "other"},
            {"images": "0"},
        )
    ):
        folder = root / "models" / f"other-{number}"
        folder.mkdir()
        (folder / "fingerprint.json").write_text(json.dumps(facts | changes))
    caplog.set_level(logging.INFO)
    recipe = SPEC.recipe.model_copy(update={"epochs": 1})
    spec = SPEC.model_copy(update={"recipe": recipe, "seed": 3})
    obtain_model(dataset, spec, "cpu", root, ignore)
    assert (
        "A shallow model of these images exists, but its training differs: recipe.epochs 2, now 1; "
        "seed 0, now 3" in caplog.text
    )


def test_an_anchored_model_brings_its_anchor_along(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    spec = SPEC.model_copy(update={"seed": 1}).anchored_to(anchor_to(model))
    file = root / model.folder / basis_file(model)
    before = os.umask(0o077)
    try:
        anchored = obtain_model(dataset, spec, "cpu", root, ignore, anchor=file)
    finally:
        os.umask(before)
    mode = (root / anchored.folder).stat().st_mode
    assert mode & 0o055 == root.stat().st_mode & 0o055, "as readable as the artifacts folder"
    assert model.basis == model.encoder_weights_sha256 == anchored.basis
    assert anchored.encoder_weights_sha256 != anchored.basis
    folder = root / anchored.folder
    assert (folder / basis_file(anchored)).read_bytes() == file.read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "fingerprint.json",
        *(file.path for file in anchored.files),
    }
    assert "anchor.keras" in {file.path for file in anchored.files}
    file.unlink()
    assert obtain_model(dataset, spec, "cpu", root, ignore, anchor=file) == anchored


def test_an_interrupted_anchored_training_resumes_to_the_same_bits(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    spec = SPEC.model_copy(update={"recipe": SPEC.recipe.model_copy(update={"epochs": 30})})
    spec = spec.model_copy(update={"seed": 1}).anchored_to(anchor_to(model))
    file = root / model.folder / basis_file(model)

    def stop(progress: Progress) -> None:
        if progress.epochs_done == 3:
            raise TrainingStoppedError

    with pytest.raises(TrainingStoppedError):
        obtain_model(dataset, spec, "cpu", root, stop, anchor=file)
    resumed = obtain_model(dataset, spec, "cpu", root, ignore, anchor=file)
    assert not (root / resumed.folder / "checkpoints").exists()
    whole = obtain_model(dataset, spec, "cpu", root, ignore, retrain=True, anchor=file)
    assert resumed.weights_sha256 == whole.weights_sha256
