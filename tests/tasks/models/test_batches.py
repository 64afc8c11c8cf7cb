import numpy as np
import pytest

from tasks.core.backend import tf
from tasks.evaluation.metrics import on_unit_scale
from tasks.images.rows import EVALUATION_ROWS
from tasks.models.batches import SegmentPlan, blocks_in_order, shuffled_segments
from tasks.models.compiled import normalize
from tasks.models.shuffling import shuffled_rows

PLAN = SegmentPlan(batch_size=30, steps=34, segment_steps=10)


def numbered(rows: int) -> np.ndarray:
    """Images of 2 x 1 pixels that tell their row."""
    row = np.arange(rows)
    return np.stack([row // 256, row % 256], axis=1).astype(np.uint8).reshape(rows, 2, 1)


def rows_of(block: tf.Tensor) -> list[int]:
    high, low = np.asarray(block).astype(int).T
    return list(high * 256 + low)


@pytest.mark.parametrize("scale", [255.0, 253.0, 1.0])
def test_normalizes_like_numpy_inside_compiled_code(scale: float) -> None:
    values = np.arange(256, dtype=np.uint8)
    compiled = tf.function(normalize, jit_compile=True)
    expected = np.minimum(values.astype("float32") / np.float32(scale), np.float32(1))
    assert on_unit_scale(values, scale).tobytes() == expected.tobytes()
    assert compiled(values, tf.constant(scale)).numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("rows", [1, EVALUATION_ROWS - 1, EVALUATION_ROWS, EVALUATION_ROWS + 1])
def test_blocks_hold_every_row_once_and_have_one_shape(rows: int) -> None:
    blocks = list(blocks_in_order(numbered(rows)))
    assert {tuple(block.images.shape) for block in blocks} == {(EVALUATION_ROWS, 2)}
    held = [row for block in blocks for row in rows_of(block.images[: block.rows])]
    assert held == list(range(rows))


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps", "segments"),
    [(60000, 256, 235, 3), (10, 100, 1, 1), (512, 256, 2, 1), (60000, 1, 60000, 3)],
)
def test_segments_are_as_few_and_as_equal_as_can_be(
    rows: int, batch_size: int, steps: int, segments: int
) -> None:
    plan = SegmentPlan.of(np.empty((rows, 28, 28), np.uint8), batch_size)
    assert (plan.steps, plan.segments) == (steps, segments)
    assert plan.segment_steps * (segments - 1) < steps <= plan.segment_steps * segments


def test_segments_hold_the_shuffled_rows_of_their_steps() -> None:
    images, plan = numbered(1000), PLAN
    segments = list(shuffled_segments(images, plan, seed=5, epochs=2))
    assert [(s.epoch, s.number) for s in segments] == [(e, n) for e in (0, 1) for n in range(4)]
    for epoch in (0, 1):
        held = [
            row
            for s in segments
            if s.epoch == epoch
            for row in rows_of(s.block.images[: s.block.rows])
        ]
        assert held == list(shuffled_rows(1000, 2, 5, epoch))
    assert segments[3].block.rows == 1000 - 3 * 300


def test_a_share_of_the_images_is_moved() -> None:
    images = np.random.default_rng(0).integers(0, 255, (1000, 4, 5), np.uint8)
    images[:, 1, 1] = np.arange(1000) % 250  # no image stays the same when it is moved
    plan = SegmentPlan.of(images, 100)
    plain, moved = (
        np.concatenate(
            [
                s.block.images[: s.block.rows].numpy()
                for s in shuffled_segments(images, plan, seed=5, epochs=1, shifted=share)
            ]
        )
        for share in (0.0, 0.4)
    )
    assert 0.35 < (plain != moved).any(axis=1).mean() < 0.45


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_segments_can_start_anywhere(share: float) -> None:
    images, plan = numbered(1000), PLAN
    whole = list(shuffled_segments(images, plan, seed=5, epochs=3, shifted=share))
    for skipped, segment in enumerate(whole):
        start = (segment.epoch, segment.number)
        rest = list(shuffled_segments(images, plan, 5, 3, start, share))
        assert [rows_of(s.block.images) for s in rest] == [
            rows_of(s.block.images) for s in whole[skipped:]
        ]
    assert not list(shuffled_segments(images, plan, seed=5, epochs=3, start=(3, 0)))


@pytest.mark.parametrize("windows", [False, True])
def test_the_codes_of_an_anchor_come_with_their_images(
    windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the images are shuffled in windows."""
    if windows:
        monkeypatch.setattr("tasks.models.shuffling.SHUFFLE_BYTES", 400)
        monkeypatch.setattr("tasks.models.shuffling.RUN_BYTES", 20)
    images = numbered(1000)
    codes = np.arange(1000, dtype=np.float32)[:, np.newaxis] * np.array([1, -1], np.float32)
    for segment in shuffled_segments(images, PLAN, seed=5, epochs=2, anchor_codes=codes):
        rows, found = rows_of(segment.block.images), np.asarray(segment.anchor_codes)
        assert found[:, 0].tolist() == rows
        assert found[:, 1].tolist() == [-row for row in rows]
