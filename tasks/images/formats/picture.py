"""One picture file in any common format: what its header says, and its pixels."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from tasks.core.errors import StepError, TransientError, may_pass
from tasks.images.formats.errors import shown

Background = Literal["white", "black", "ignore"]
Mode = Literal["L", "RGB", "I;16", "F"]
"""Pillow's names of grey of 8 bits, colour of 8 bits a channel, grey of 16 bits and floats."""
MODE_NAMES: dict[Mode, str] = {
    "L": "grey, 8 bit",
    "RGB": "in colour, 8 bit",
    "I;16": "grey, 16 bit",
    "F": "grey, float",
}
MODES: dict[str, Mode] = {
    "1": "L",
    "L": "L",
    "LA": "L",
    "La": "L",
    "F": "F",
    "I;16": "I;16",
    "I;16B": "I;16",
    "I;16L": "I;16",
    "I;16N": "I;16",
    "I": "I;16",
}
"""The mode that each of Pillow's becomes; palettes of greys become grey, all others colour."""
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "DIB"),
    *("PCX", "SGI", "QOI", "SUN", "XBM"),
)
"""Those of Pillow's that have a signature, need no other program and have been in use."""
FORMATS_BY_SUFFIX = {"TGA"}
"""Formats without a signature: read if the file's name says so."""
MAX_PICTURE_PIXELS = 2**20
"""Height times width of the largest picture that is decompressed."""
MAX_RESIZED_PIXELS = 2**26
"""The same, where pictures are resized: 64 million, 256 MiB in colour."""
FILTER = Image.Resampling.BILINEAR
"""Of resizing; Pillow widens it where a picture shrinks (antialias). It does not overshoot."""
STILL_COPIED_SECONDS = 10
"""A damaged file that changed less than so long ago may be incomplete still."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by EXIF's orientation."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)


class Reading(NamedTuple):
    """How pictures are read."""

    background: Background = "white"
    """What is seen through transparent pixels; `ignore`: the colour that is stored for them."""
    size: tuple[int, int] | None = None
    """(height, width) to resize to; each picture must have one size where it is None."""
    in_color: bool = False
    """Whether grey pictures of 8 bits become colour where none is coloured, too."""


class Header(NamedTuple):
    """What a picture's pixels will be, without reading them."""

    mode: Mode
    height: int
    width: int
    """Of the picture upright, before it is resized."""
    frames: bool
    """Whether there are more than one, of which the first is read."""


class DamagedPictureError(StepError):
    """A file that is no picture, is damaged or may not be read."""


@cache
def formats_by_suffix() -> dict[str, str]:
    """The format that each ending of the names of picture files stands for, in lower case."""
    Image.init()
    known = {*FORMATS, *FORMATS_BY_SUFFIX}
    return {suffix: name for suffix, name in Image.EXTENSION.items() if name in known}


@cache
def _formats(suffix: str) -> tuple[str, ...]:
    """The formats that a file may have, the likely one first."""
    likely = formats_by_suffix().get(suffix)
    available = [name for name in FORMATS if name in Image.OPEN and name != likely]
    return (likely, *available) if likely else tuple(available)


@contextmanager
def quiet_decoding() -> Iterator[None]:
    """Silence Pillow's warnings of faults that it can read over, such as damaged EXIF data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(path: str, reading: Reading) -> Header:
    """Read what a picture is.

    Raises:
        DamagedPictureError: it is no picture.
        TransientError: it is none yet, or cannot be read for the moment.
        StepError: it is larger or deeper than what can be read.
    """
    with _open(path, reading) as picture:
        height, width = picture.height, picture.width
        # Pillow turns TIFF files itself. For a square, no pixels need to be read (PNG's EXIF data).
        turned = picture.format != "TIFF" and height != width
        if turned and _orientation(picture) in SIDEWAYS:
            height, width = width, height
        mode = MODES.get(picture.mode, "RGB")
        if picture.mode in ("P", "PA") and _is_grey(_flatten(picture, "RGB", reading.background)):
            mode = "L"
        # The further pictures of a photo (MPO) are previews and depth maps.
        frames = picture.format != "MPO" and getattr(picture, "is_animated", False)
        return Header(mode, height, width, frames)


def read_pixels(path: str, mode: Mode, reading: Reading) -> NDArray[Any]:
    """A picture, upright: (height, width[, 3]) uint8, uint16 or float32.

    Raises:
        DamagedPictureError, TransientError, StepError: as above.
    """
    with _open(path, reading) as picture:
        picture.load()
        turn = TURNS.get(_orientation(picture))
        upright = picture.transpose(turn) if turn is not None else picture
        flat = _flatten(upright, mode, reading.background)
        if mode == "I;16":
            return _resize_deep(_checked_depth(path, np.asarray(flat)), reading)
        if reading.size and flat.size != reading.size[::-1]:
            flat = flat.resize(reading.size[::-1], FILTER)
        return np.asarray(flat)


@contextmanager
def _open(path: str, reading: Reading) -> Iterator[ImageFile.ImageFile]:
    suffix = Path(path).suffix.lower()
    try:
        # Given the path, Pillow would map the file into memory: it turns such TIFF files wrongly,
        # and a file that another program shortens would end this one.
        with open(path, "rb") as file, Image.open(file, formats=_formats(suffix)) as picture:  # noqa: PTH123
            _check(path, picture, MAX_RESIZED_PIXELS if reading.size else MAX_PICTURE_PIXELS)
            yield picture
    except StepError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise StepError(f"{shown(path)} is too large to decompress: {error}") from None
    except Exception as error:  # Pillow's many readers raise anything for a damaged file
        raise explain_failure(path, error) from None


def explain_failure(path: str, error: Exception) -> StepError:
    """Why a file cannot be read, and what to do."""
    name = shown(path)
    if isinstance(error, OSError) and error.errno is not None:
        if isinstance(error, FileNotFoundError):
            return TransientError(f"{name} was removed while the folder was read")
        text = f"{name} cannot be read: {error.strerror}"
        if may_pass(error):
            return TransientError(text)
        return DamagedPictureError(f"{text}: allow this user to read it, or move it elsewhere")
    try:
        facts = Path(path).stat()
    except OSError as gone:
        return explain_failure(path, gone)
    text = f"{name} cannot be read as a picture: {_reason(facts.st_size, error)}"
    if time.time() - facts.st_mtime < STILL_COPIED_SECONDS:
        return TransientError(f"{text}. It was changed just now: wait until it is copied")
    return DamagedPictureError(
        f"{text}. Replace it, or leave out all damaged files with --source.skip-damaged"
    )


def _reason(size: int, error: Exception) -> str:
    if not size:
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):  # its text has the path once more
        return "it is damaged or not in a format of pictures"
    return " ".join(shown(str(error)).split()) or type(error).__name__


def _check(path: str, picture: ImageFile.ImageFile, most: int) -> None:
    """Refuse what is too large, or too deep for Pillow."""
    if picture.width * picture.height > most:
        way_out = "make it smaller"
        if most == MAX_PICTURE_PIXELS:
            way_out += ", or resize all with --source.resize HEIGHTxWIDTH"
        raise StepError(
            f"{shown(path)} has {picture.height} x {picture.width} pixels, expected at most "
            f"{most:,}: {way_out}"
        )
    deep = ";16" in str(picture.tile) or _ppm_maximum(picture) > 255
    has_transparency = "transparency" in picture.info
    if deep and (picture.mode in ("LA", "RGB", "RGBA") or has_transparency):
        raise StepError(
            f"{shown(path)} has colour or transparency in 16 bits, of which only 8 could be read: "
            "store the images in a NumPy or HDF5 file"
        )


def _ppm_maximum(picture: ImageFile.ImageFile) -> int:
    """What white is in a file of the Netpbm family; 0 in others, and where it is the usual one."""
    if picture.format != "PPM" or not picture.tile:
        return 0
    maximum = picture.tile[0].args[-1] if isinstance(picture.tile[0].args, tuple) else 0
    return maximum if isinstance(maximum, int) else 0


def _orientation(picture: Image.Image) -> int:
    """EXIF's orientation; 1, upright, where there is none or it is damaged."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # as of damaged files
        return 1


def _flatten(picture: Image.Image, mode: Mode, background: Background) -> Image.Image:
    """A picture in `mode`, what is transparent on the background; 16 bits stay as they are."""
    if picture.has_transparency_data and background != "ignore":
        layer = picture.convert("LA" if mode == "L" and MODES.get(picture.mode) else "RGBA")
        flat = Image.new(mode, picture.size, background)
        flat.paste(layer.convert(mode), mask=layer.getchannel("A"))
        return flat
    if picture.mode == mode or mode == "I;16":
        return picture
    if picture.mode in ("P", "PA"):  # a palette of greys becomes grey exactly
        picture = picture.convert("RGB")
    return picture.convert(mode)


def _is_grey(picture: Image.Image) -> bool:
    """Whether no pixel is coloured."""
    red, green, blue = np.moveaxis(np.asarray(picture), -1, 0)
    return bool((red == green).all() and (red == blue).all())


def _checked_depth(path: str, values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.min(initial=0) < 0 or values.max(initial=0) > np.iinfo(np.uint16).max:
        raise StepError(
            f"{shown(path)} has values from {values.min()} to {values.max()}, expected 0 to "
            f"{np.iinfo(np.uint16).max}: store the images in a NumPy or HDF5 file"
        )
    return values.astype(np.uint16)


def _resize_deep(values: NDArray[np.uint16], reading: Reading) -> NDArray[np.uint16]:
    """By way of floats: Pillow's own resizing of 16 bits does not round."""
    if reading.size is None or values.shape == reading.size:
        return values
    resized = Image.fromarray(values.astype(np.float32)).resize(reading.size[::-1], FILTER)
    rounded: NDArray[np.uint16] = np.rint(np.asarray(resized)).astype(np.uint16)
    return rounded
