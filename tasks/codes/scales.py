"""Units of pixel values: the same images may have values of 0 to 1 or of 0 to 255, in any type."""

import numpy as np

LARGEST_SCALE_RATIO = 100
"""Images this many times brighter than the brightest training image have another unit."""
FRACTION, BYTE = 1.0, 255.0
"""The values of white in the two usual units."""


def unit_ratio(
    dtype: str, greatest: float, trained_dtype: str, trained_greatest: float
) -> float | None:
    """How many units of images make one unit of those that an encoder learned from.

    1 for one unit, 255 for images of 0 to 255 beside ones of 0 to 1, 1/255 for the reverse; None
    where the units cannot be told. Truth values are images of 0 to 1.

    Args:
        dtype: name of the images' type.
        greatest: their greatest value.
        trained_dtype, trained_greatest: of the images that were learned from.
    """
    white, trained_white = _white(dtype, greatest), _white(trained_dtype, trained_greatest)
    # Brightest values of less than half of white may be those of another unit, such as 0 to 16.
    is_bright = trained_white == FRACTION or trained_greatest > BYTE / 2
    becomes_black = white == FRACTION and trained_white == BYTE and is_bright
    becomes_white = greatest > LARGEST_SCALE_RATIO * trained_greatest
    if dtype == trained_dtype and not becomes_black and not becomes_white:
        return 1.0
    if white is None or trained_white is None or (white != trained_white and not is_bright):
        return 1.0 if dtype == trained_dtype else None
    return white / trained_white


def _white(dtype: str, greatest: float) -> float | None:
    """The value of white, if it can be told."""
    if greatest <= FRACTION:
        return FRACTION
    is_byte = greatest <= BYTE and (np.dtype(dtype).kind in "ui" or greatest > BYTE / 2)
    return BYTE if is_byte else None
