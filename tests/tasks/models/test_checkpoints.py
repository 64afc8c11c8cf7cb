import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.core.records import EpochRecord
from tasks.models.checkpoints import Checkpoints, Position, TrainingState

FINGERPRINT = "ab" * 32


def state(epoch: int, step: int = 1) -> TrainingState:
    history = tuple(EpochRecord(loss=1 / (n + 3), validation_loss=0.1 * n) for n in range(epoch))
    variables: list[Any] = [np.full((3, 2), epoch, np.float32), np.array(epoch, np.int64)]
    position = Position(epoch=epoch, step=step, loss_sum=1 / 3, loss_rows=7, history=history)
    return TrainingState(position, variables)


def assert_equal(found: TrainingState | None, expected: TrainingState) -> None:
    assert found is not None
    assert found.position == expected.position
    for mine, theirs in zip(found.variables, expected.variables, strict=True):
        assert (mine.dtype, mine.shape, mine.tobytes()) == (
            theirs.dtype,
            theirs.shape,
            theirs.tobytes(),
        )


def test_gives_back_the_newest_state(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", FINGERPRINT)
    assert checkpoints.load() is None
    for position in ((0, 2), (1, 0), (12, 1)):
        checkpoints.save(state(*position))
    assert_equal(checkpoints.load(), state(12, 1))


def test_keeps_the_newest_and_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, FINGERPRINT)
    for epoch in range(5):
        checkpoints.save(state(epoch))
    assert sorted(path.name[:6] for path in tmp_path.iterdir()) == ["000003", "000004"]


def test_saving_the_same_state_twice_is_harmless(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, FINGERPRINT)
    checkpoints.save(state(3))
    checkpoints.save(state(3))
    assert_equal(checkpoints.load(), state(3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content + b"\0",
    ],
    ids=["empty", "truncated", "bit-flipped", "longer"],
)
def test_damage_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    assert callable(damage)
    checkpoints = Checkpoints(tmp_path, FINGERPRINT)
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    newest = max(tmp_path.iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert_equal(checkpoints.load(), state(1))
    assert "trying the one before it" in caplog.text


def test_a_damaged_checkpoint_is_not_kept_in_place_of_an_undamaged_one(tmp_path: Path) -> None:
    """It is newer than those that are saved after the training went on from the one before it."""
    checkpoints = Checkpoints(tmp_path, FINGERPRINT)
    checkpoints.save(state(4))
    checkpoints.save(state(5))
    max(tmp_path.iterdir()).write_bytes(b"damaged")
    resumed = Checkpoints(tmp_path, FINGERPRINT)
    assert_equal(resumed.load(), state(4))
    for position in ((4, 2), (4, 3), (6, 1)):
        resumed.save(state(*position))
    assert sorted(path.name[:13] for path in tmp_path.iterdir()) == [
        "000004-000003",
        "000006-000001",
    ]
    max(tmp_path.iterdir()).write_bytes(b"damaged")
    assert_equal(Checkpoints(tmp_path, FINGERPRINT).load(), state(4, 3))


def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoints(tmp_path, "cd" * 32).save(state(4))
    assert Checkpoints(tmp_path, FINGERPRINT).load() is None
    assert "belongs to another training" in caplog.text


def test_another_format_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = b"not a checkpoint"
    name = f"000001-000000-{hashlib.sha256(content).hexdigest()}.npz"
    (tmp_path / name).write_bytes(content)
    assert Checkpoints(tmp_path, FINGERPRINT).load() is None
    assert "cannot be used" in caplog.text


def test_what_a_kill_left_is_ignored_and_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    checkpoints = Checkpoints(folder, FINGERPRINT)
    checkpoints.save(state(1))
    (folder / ".partial-abc.npz").write_bytes(b"half")
    assert_equal(checkpoints.load(), state(1))
    checkpoints.clear()
    assert not folder.exists()


def test_saving_is_due_after_a_while_and_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.9, 2.0, 10.0, 10.5, 10.6, 60.0, 61.0])
    monkeypatch.setattr("tasks.models.checkpoints.time.monotonic", lambda: next(clock))
    checkpoints = Checkpoints(tmp_path, FINGERPRINT)  # at 0.0
    assert [checkpoints.due, checkpoints.due] == [False, True]  # at 1.9 and 2.0
    checkpoints.save(state(1))  # from 10.0 to 10.5: half a second
    # At 10.6, 60.0 and 61.0; a hundred times what it took have to pass.
    assert [checkpoints.due, checkpoints.due, checkpoints.due] == [False, False, True]
