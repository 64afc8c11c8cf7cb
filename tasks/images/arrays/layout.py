"""Which axes of an array are images, heights, widths and colours: what is plausible, or asked for.

Axes have their usual letters: N images, H height, W width, C colour channels.
"""

import math
from typing import Any, Literal, NamedTuple

from tasks.core.errors import StepError
from tasks.images.arrays.stored import StoredArray, describe_shape
from tasks.images.arrays.views import reshape_rows, transpose_rows
from tasks.images.rows import Rows

Axes = Literal[
    "NHW", "NWH", "HWN", "WHN", "NHWC", "NWHC", "NCHW", "NCWH", "HWCN", "WHCN", "CHWN", "CWHN"
]
GREY_AXES, COLOUR_AXES = ("NHW", "HWN"), ("NHWC", "NCHW", "HWCN", "CHWN")
"""The orders that are plausible without being asked for, the most usual first."""
CHANNELS = (1, 3)
WIDEST = 4
"""Aspect ratio from which on few images are more likely many of another shape."""


class Wanted(NamedTuple):
    """What the user says about the axes of images."""

    axes: str | None = None
    """Their order, in letters."""
    size: tuple[int, ...] | None = None
    """Height, width and, in colour, channels of an image."""


class _Reading(NamedTuple):
    """One way to read a shape."""

    axes: str
    shape: tuple[int, ...]

    def length(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)]

    @property
    def size(self) -> tuple[int, ...]:
        """Height, width and, if it has that axis, channels."""
        return tuple(self.length(axis) for axis in "HWC" if axis in self.axes)

    def __str__(self) -> str:
        return f"{self.length('N')} images of {describe_shape(self.size)}"

    @property
    def is_square(self) -> bool:
        return self.length("H") == self.length("W")

    @property
    def is_doubtful(self) -> bool:
        """Whether these would be few images and very wide or high ones."""
        short, long = sorted((self.length("H"), self.length("W")))
        return self.length("N") <= long and long > WIDEST * short


def lay_out_images(array: StoredArray, wanted: Wanted, labels: int | None = None) -> Rows:
    """The images of an array, (N, height, width[, channels]).

    An array that is no images in any order of axes is returned as it is, to be refused with others
    of its kind.

    Args:
        labels: how many there are, if any: they tell what N is.

    Raises:
        StepError: the order of the axes is doubtful, or not what the user says.
    """
    is_flat = len(array.shape) == 2
    reading = _read_flat(array, wanted) if is_flat else _choose(array, wanted, labels)
    if reading is None:
        return array.rows()
    rows = array.rows(last=reading.axes.endswith("N"))
    inner = reading.axes.replace("N", "")
    if is_flat:
        rows = reshape_rows(rows, tuple(map(reading.length, inner)))
    order = (inner.index(axis) + 1 for axis in "HWC" if axis in inner)
    return transpose_rows(rows, (0, *order))


def _choose(array: StoredArray, wanted: Wanted, labels: int | None) -> _Reading | None:
    if wanted.axes:
        if len(wanted.axes) != len(array.shape):
            raise StepError(
                f"{array.name} has shape {describe_shape(array.shape)}, expected "
                f"{len(wanted.axes)} axes, {wanted.axes}, as --source.axes says"
            )
        return _check_size(array, _Reading(wanted.axes, array.shape), wanted)
    usual = {3: GREY_AXES, 4: COLOUR_AXES}.get(len(array.shape), ())
    if array.is_matlab:
        usual = tuple(sorted(usual, key=lambda axes: axes.startswith("N")))
    readings = [_Reading(axes, array.shape) for axes in usual]
    readings = [each for each in readings if each.size[2:] in ((), (1,), (3,))]
    if wanted.size:
        fitting = [each for each in readings if each.size == _full_size(each, wanted.size)]
        if not fitting:
            return _check_size(array, _Reading(usual[0], array.shape), wanted) if usual else None
        readings = fitting
    if len(readings) > 1 and labels:
        readings = [each for each in readings if each.length("N") == labels] or readings
    return _most_plausible(array.name, readings)


def _most_plausible(name: str, readings: list[_Reading]) -> _Reading | None:
    """The first reading, unless it is doubtful beside the others.

    Raises:
        StepError: it is.
    """
    if len(readings) < 2:
        return readings[0] if readings else None
    first, *others = readings
    few = first.length("N") <= max(first.length("H"), first.length("W"))
    is_odd = few and not first.is_square and any(each.is_square for each in others)
    if first.is_doubtful or is_odd:
        either = " or ".join(map(str, readings))
        flags = " or ".join(each.axes for each in readings)
        raise StepError(
            f"{name} has shape {describe_shape(first.shape)}: are these {either}? Say so with "
            f"--source.axes {flags}"
        )
    return first


def _full_size(reading: _Reading, size: tuple[int, ...]) -> tuple[int, ...]:
    """The size that the user gives, with one channel if it is that of a grey image."""
    return (*size, 1) if len(size) < len(reading.size) else size


def _check_size(array: StoredArray, reading: _Reading, wanted: Wanted) -> _Reading:
    if wanted.size and reading.size != _full_size(reading, wanted.size):
        raise StepError(
            f"{array.name} has shape {describe_shape(array.shape)}, {reading}, expected images of "
            f"{describe_shape(wanted.size)} as --source.image-shape says"
        )
    return reading


def _read_flat(array: StoredArray, wanted: Wanted) -> _Reading:
    """Read (N, values) or (values, N), where the size of an image is given."""
    shape = describe_shape(array.shape)
    if not wanted.size:
        side = math.isqrt(array.shape[1])
        example = f"{side}x{side}" if side * side == array.shape[1] else "HEIGHTxWIDTH"
        raise StepError(
            f"{array.name} has shape {shape}, {array.shape[0]} rows of {array.shape[1]} values: "
            f"say how high and wide these images are, such as --source.image-shape {example}"
        )
    values, is_colour = math.prod(wanted.size), wanted.size[2:] == (3,)
    if is_colour and not wanted.axes:
        raise StepError(
            f"{array.name} has shape {shape}: say whether each image has its three colours pixel "
            "by pixel, --source.axes NHWC, or one after the other, --source.axes NCHW"
        )
    last = values != array.shape[1]
    axes = wanted.axes or ("HWN" if last else "NHW")
    if wanted.axes:
        last = axes.endswith("N")
    lengths: dict[str, Any] = dict(zip("HWC", (*wanted.size, 1), strict=False))
    lengths["N"] = array.shape[-1 if last else 0]
    if array.shape[0 if last else 1] != values or ("C" in axes) < is_colour:
        raise StepError(
            f"{array.name} has shape {shape}, expected {values} values, "
            f"{describe_shape(wanted.size)}, of each image as --source.image-shape says"
        )
    return _Reading(axes, tuple(lengths[axis] for axis in axes))
