import numpy as np
import pytest

from tasks.core.backend import tf
from tasks.evaluation.metrics import on_unit_scale
from tasks.images.rows import EVALUATION_ROWS
from tasks.models.batches import (
    MOVES,
    NO_CODE,
    SegmentPlan,
    blocks_in_order,
    choose_moves,
    shift_images,
    shuffled_segments,
)
from tasks.models.compiled import normalize
from tasks.models.shuffling import shuffled_rows

IMAGE = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
MOVED = {
    (1, 0): [[1, 2, 3], [1, 2, 3]],
    (-1, 0): [[4, 5, 6], [4, 5, 6]],
    (0, 1): [[1, 1, 2], [4, 4, 5]],
    (0, -1): [[2, 3, 3], [5, 6, 6]],
}
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


def test_a_batch_has_no_room_for_more_images_than_there_are() -> None:
    """It would take 64 GiB."""
    images = np.broadcast_to(np.uint8(0), (20, 1024, 1024))
    plan = SegmentPlan.of(images, 65536)
    assert plan == SegmentPlan(batch_size=20, steps=1, segment_steps=1)


def test_segments_hold_the_shuffled_rows_of_their_steps() -> None:
    images, plan = numbered(1000), PLAN
    segments = list(shuffled_segments(images, plan, seed=5, epochs=2))
    assert [(s.epoch, s.first_step, s.steps) for s in segments] == [
        (epoch, step, min(10, 34 - step)) for epoch in (0, 1) for step in (0, 10, 20, 30)
    ]
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
        for step in (segment.first_step, segment.first_step + segment.steps - 1):
            rest = list(shuffled_segments(images, plan, 5, 3, (segment.epoch, step), share))
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


def test_moves_each_image_by_one_pixel_and_repeats_the_edge() -> None:
    images = np.stack([IMAGE] * 5)
    shift_images(images, np.array([0, 1, 2, 3, -1], np.int8))
    for image, move in zip(images, MOVES, strict=False):
        assert image.tolist() == MOVED[move]
    assert images[4].tolist() == IMAGE.tolist()


def test_moves_all_colours_alike() -> None:
    images = np.stack([IMAGE, IMAGE + 100], axis=-1)[np.newaxis]
    shift_images(images, np.array([2], np.int8))
    assert images[0, :, :, 0].tolist() == MOVED[0, 1]
    assert (images[0, :, :, 1] == images[0, :, :, 0] + 100).all()


def test_an_image_of_one_pixel_stays() -> None:
    images = np.full((4, 1, 1), 7, np.uint8)
    shift_images(images, np.arange(4, dtype=np.int8))
    assert (images == 7).all()


def test_the_share_is_moved_in_all_directions_alike() -> None:
    moves = choose_moves(40_000, 0.25, seed=1, epoch=2)
    counts = np.bincount(moves + 1, minlength=5) / len(moves)
    np.testing.assert_allclose(counts, [0.75, *[0.0625] * 4], atol=0.01)


def test_moves_depend_on_seed_and_epoch_alone() -> None:
    moves = choose_moves(1000, 0.5, seed=1, epoch=2)
    assert (moves == choose_moves(1000, 0.5, seed=1, epoch=2)).all()
    assert (moves != choose_moves(1000, 0.5, seed=1, epoch=3)).any()
    assert (moves != choose_moves(1000, 0.5, seed=2, epoch=2)).any()
    assert (choose_moves(1000, 0.0, seed=1, epoch=2) == -1).all()


def test_an_image_that_is_moved_has_no_code_of_the_anchor() -> None:
    images, codes = numbered(1000), np.ones((1000, 2), np.float32)
    moves = choose_moves(1000, 0.4, seed=5, epoch=0)
    segments = shuffled_segments(images, PLAN, 5, 1, shifted=0.4, anchor_codes=codes)
    found = np.concatenate([np.asarray(s.anchor_codes)[: s.block.rows] for s in segments])
    assert (found[moves >= 0] == NO_CODE).all()
    assert (found[moves < 0] == 1).all()
