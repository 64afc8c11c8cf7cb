"""Folders of PNG and JPEG pictures of one size, in sub-folders by class if they have classes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tasks.core.errors import StepError
from tasks.images.rows import ArrayRows, Rows

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PICTURE_PIXELS = 2**20
"""Height times width of the largest picture that is decompressed."""
GREY_MODES = {"1": "L", "L": "L", "LA": "L", "I;16": "I;16", "I;16B": "I;16", "I": "I;16"}
"""The Pillow mode that each mode is converted to; others become RGB. Transparency is dropped."""


class PictureRows(Rows):
    """Pictures of one size as an array; each file is read when its block is.

    Args:
        files: at least one; the first sets shape and dtype.
    """

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self._folder, self._files = folder, files
        first = read_picture(files[0])
        super().__init__(str(folder), (len(files), *first.shape), first.dtype)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All pictures, in consecutive blocks."""
        for start in range(0, len(self), self.block_rows):
            files = self._files[start : start + self.block_rows]
            yield np.stack([self._read(file) for file in files])

    def _read(self, file: Path) -> NDArray[Any]:
        picture = read_picture(file)
        if picture.shape != self.shape[1:] or picture.dtype != self.dtype:
            raise StepError(
                f"{file} is {_describe(picture.shape, picture.dtype)}, expected "
                f"{_describe(self.shape[1:], self.dtype)} as in {self._files[0].name}"
            )
        return picture

    def row_name(self, row: int) -> str:
        """The path of the picture's file."""
        return str(self._files[row])

    def select(self, wanted: NDArray[np.bool_]) -> Rows:
        """The pictures for which `wanted`, (N,), is true; the others are not read."""
        return PictureRows(self._folder, [self._files[row] for row in np.flatnonzero(wanted)])


def read_picture(file: Path) -> NDArray[Any]:
    """A picture as (height, width[, 3]) uint8 or uint16, turned upright as its EXIF data says."""
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PICTURE_PIXELS:
                raise StepError(
                    f"{file} has {picture.width} x {picture.height} pixels, expected at most "
                    f"{MAX_PICTURE_PIXELS:,}: make it smaller"
                )
            if picture.mode in ("LA", "RGB", "RGBA") and ";16" in str(picture.tile):
                raise StepError(
                    f"{file} has colour or transparency in 16 bits, of which only 8 could be read: "
                    "store the images in a NumPy or HDF5 file"
                )
            upright = ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert(GREY_MODES.get(upright.mode, "RGB")))
    except bombs as error:
        raise StepError(f"{file} is too large to decompress: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise StepError(f"{file} cannot be read as a PNG or JPEG picture: {error}") from None


def find_pictures(folder: Path, allowed: Path | None) -> list[Path]:
    """All PNG and JPEG files beneath a folder that are not hidden, sorted by path.

    Args:
        allowed: no picture may be a link that leads out of this folder.
    """
    files = list(_walk(folder))
    if not files:
        raise StepError(f"{folder} holds no PNG or JPEG file: place the images there")
    for file in files:
        if not file.is_file():  # false for links in a circle, too
            raise StepError(f"{file} is not a file: remove it")
        if allowed and not file.resolve().is_relative_to(allowed):
            raise StepError(f"{file} leads out of {allowed}, the only place data may be in")
    return sorted(files, key=lambda file: file.relative_to(folder).parts)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:  # os.walk would skip the folder, and so its class
        raise StepError(f"{error.filename} cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(parent, name).is_symlink():  # os.walk does not follow it
                raise StepError(
                    f"{Path(parent, name)} is a link to a folder: place the pictures there"
                )
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def find_classes(folder: Path, files: list[Path]) -> list[str]:
    """The names of the sub-folders that hold the pictures, sorted; empty if there are none."""
    names = {_class_folder(folder, file) for file in files}
    if "" in names and len(names) > 1:
        stray = next(file for file in files if not _class_folder(folder, file))
        raise StepError(f"{stray} is not in a sub-folder, others are: give each a class, or none")
    for name in names:
        if not name.isprintable():
            raise StepError(f"{folder} has a sub-folder {name!r}, not a printable name: rename it")
    return sorted(names - {""})


def label_pictures(folder: Path, files: list[Path], classes: list[str]) -> Rows:
    """The class of each picture, (N,) int64: the index of its sub-folder's name in `classes`."""
    positions = {name: position for position, name in enumerate(classes)}
    labels = np.empty(len(files), np.int64)
    for row, file in enumerate(files):
        name = _class_folder(folder, file)
        if name not in positions:
            raise StepError(f"{file} is in none of the classes {', '.join(classes)}")
        labels[row] = positions[name]
    return ArrayRows(str(folder), labels)


def _class_folder(folder: Path, file: Path) -> str:
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    height, width = shape[:2]
    kind = "in colour" if len(shape) == 3 else "grey"
    return f"{height} x {width} pixels, {kind}, {8 * dtype.itemsize} bit"
