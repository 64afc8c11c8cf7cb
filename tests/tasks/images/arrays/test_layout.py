from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images.arrays.layout import Wanted, lay_out_images
from tasks.images.arrays.stored import StoredArray
from tasks.images.rows import ArrayRows

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (60, 5, 4), np.uint8)
COLOUR = GENERATOR.integers(0, 256, (60, 5, 4, 3), np.uint8)
SQUARE = GENERATOR.integers(0, 256, (600, 28, 28), np.uint8)


def stored(array: NDArray[Any], is_matlab: bool = False) -> StoredArray:
    """An array as it is for whoever saved it; MATLAB's has its axes in reverse in the file."""
    kept = array.T if is_matlab else array
    return StoredArray(
        "mine.npy",
        kept.shape,
        array.dtype,
        lambda: ArrayRows("mine.npy", kept),
        lambda: ArrayRows("mine.npy", np.moveaxis(kept, -1, 0)),
        is_reversed=is_matlab,
        is_matlab=is_matlab,
    )


def from_axes(images: NDArray[Any], axes: str) -> NDArray[Any]:
    """Images (N, H, W[, C]) stored with their axes in another order."""
    return images.transpose(["NHWC".index(axis) for axis in axes])


@pytest.mark.parametrize("axes", ["NHW", "NWH", "HWN", "WHN"])
@pytest.mark.parametrize("is_matlab", [False, True], ids=["NumPy", "MATLAB"])
def test_grey_images_are_read_in_the_order_that_is_named(axes: str, is_matlab: bool) -> None:
    array = stored(from_axes(GREY, axes), is_matlab)
    assert np.array_equal(lay_out_images(array, Wanted(axes)).read(), GREY)


@pytest.mark.parametrize("axes", ["NHWC", "NWHC", "NCHW", "NCWH", "HWCN", "WHCN", "CHWN", "CWHN"])
@pytest.mark.parametrize("is_matlab", [False, True], ids=["NumPy", "MATLAB"])
def test_colour_images_are_read_in_the_order_that_is_named(axes: str, is_matlab: bool) -> None:
    array = stored(from_axes(COLOUR, axes), is_matlab)
    assert np.array_equal(lay_out_images(array, Wanted(axes)).read(), COLOUR)


@pytest.mark.parametrize("axes", ["NHWC", "NCHW", "HWCN", "CHWN"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_axis_of_colours_is_found_where_only_one_can_be(axes: str, channels: int) -> None:
    images = COLOUR[..., :channels]
    found = lay_out_images(stored(from_axes(images, axes)), Wanted())
    assert np.array_equal(found.read(), images)


def test_images_that_are_stacked_last_are_not_read_as_wide_ones() -> None:
    """(28, 28, 600) once trained as 28 pictures of 28 x 600."""
    array = stored(from_axes(SQUARE, "HWN"))
    with pytest.raises(
        StepError,
        match="mine.npy has shape 28x28x600: are these 28 images of 28x600 or 600 images of 28x28"
        r"\? Say so with --source.axes NHW or HWN",
    ):
        lay_out_images(array, Wanted())
    for wanted, labels in (("HWN", None), (None, 600)):
        found = lay_out_images(array, Wanted(wanted), labels)
        assert np.array_equal(found.read(), SQUARE)
    assert lay_out_images(array, Wanted("NHW")).shape == (28, 28, 600)
    assert lay_out_images(array, Wanted(), 28).shape == (28, 28, 600)
    assert lay_out_images(array, Wanted(size=(28, 28))).shape == (600, 28, 28)


@pytest.mark.parametrize(
    "shape", [(24, 32, 5000), (28, 28, 20), (28, 28, 60), (5, 2, 40), (1, 1, 9)], ids=str
)
def test_a_doubtful_axis_is_asked_for(shape: tuple[int, ...]) -> None:
    with pytest.raises(StepError, match="Say so with --source.axes NHW or HWN"):
        lay_out_images(stored(np.zeros(shape, np.uint8)), Wanted())


@pytest.mark.parametrize(
    "shape", [(28, 28, 28), (1, 28, 28), (10, 100, 200), (600, 4, 300), (2, 30, 100)], ids=str
)
def test_plausible_images_are_not_asked_for(shape: tuple[int, ...]) -> None:
    assert lay_out_images(stored(np.zeros(shape, np.uint8)), Wanted()).shape == shape


def test_matlab_stacks_images_last() -> None:
    found = lay_out_images(stored(from_axes(SQUARE, "HWN"), is_matlab=True), Wanted())
    assert np.array_equal(found.read(), SQUARE)
    with pytest.raises(StepError, match="600x28x28: are these 28 images of 600x28 or 600 images"):
        lay_out_images(stored(SQUARE, is_matlab=True), Wanted())


def test_a_row_of_values_needs_the_size_of_an_image() -> None:
    flat = stored(SQUARE.reshape(600, 784))
    with pytest.raises(
        StepError, match=r"600 rows of 784 values: say how .* --source\.image-shape 28x28"
    ):
        lay_out_images(flat, Wanted())
    assert np.array_equal(lay_out_images(flat, Wanted(size=(28, 28))).read(), SQUARE)
    turned = lay_out_images(flat, Wanted("NWH", (28, 28))).read()
    assert np.array_equal(turned, SQUARE.transpose(0, 2, 1))
    assert lay_out_images(flat, Wanted(size=(14, 56))).shape == (600, 14, 56)
    last = stored(SQUARE.reshape(600, 784).T)
    assert np.array_equal(lay_out_images(last, Wanted(size=(28, 28))).read(), SQUARE)
    with pytest.raises(StepError, match="expected 783 values, 27x29, of each image"):
        lay_out_images(flat, Wanted(size=(27, 29)))


def test_flat_colours_are_pixel_by_pixel_or_one_after_the_other() -> None:
    for axes in ("NHWC", "NCHW"):
        flat = stored(from_axes(COLOUR, axes).reshape(60, 60))
        assert np.array_equal(lay_out_images(flat, Wanted(axes, (5, 4, 3))).read(), COLOUR)
    with pytest.raises(StepError, match="--source.axes NHWC, or one after the other, .* NCHW"):
        lay_out_images(flat, Wanted(size=(5, 4, 3)))
    with pytest.raises(StepError, match="expected 60 values, 5x4x3, of each image"):
        lay_out_images(flat, Wanted("NHW", (5, 4, 3)))


def test_a_size_that_the_images_do_not_have_is_refused() -> None:
    for size in ((4, 5), (5, 4, 3)):
        with pytest.raises(StepError, match="60 images of 5x4, expected images of"):
            lay_out_images(stored(GREY), Wanted(size=size))
    with pytest.raises(StepError, match="expected images of 4x5 as --source.image-shape says"):
        lay_out_images(stored(GREY), Wanted("NHW", (4, 5)))
    assert lay_out_images(stored(GREY[..., np.newaxis]), Wanted(size=(5, 4))).shape == (60, 5, 4, 1)


def test_axes_that_the_array_does_not_have_are_refused() -> None:
    with pytest.raises(StepError, match="has shape 60x5x4, expected 4 axes, NCHW"):
        lay_out_images(stored(GREY), Wanted("NCHW"))


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4, 5), (2, 3, 4, 5, 6)], ids=str)
def test_what_is_no_image_is_left_to_the_check_of_all_sources(shape: tuple[int, ...]) -> None:
    assert lay_out_images(stored(np.zeros(shape)), Wanted()).shape == shape
