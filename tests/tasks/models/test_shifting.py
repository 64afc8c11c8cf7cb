import numpy as np

from tasks.models.shifting import MOVES, choose_moves, shift_images

IMAGE = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
MOVED = {
    (1, 0): [[1, 2, 3], [1, 2, 3]],
    (-1, 0): [[4, 5, 6], [4, 5, 6]],
    (0, 1): [[1, 1, 2], [4, 4, 5]],
    (0, -1): [[2, 3, 3], [5, 6, 6]],
}


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
