"""Pictures as images of one shape and type."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError, TransientError
from tasks.images.faults import report_fault
from tasks.images.formats.errors import shown
from tasks.images.formats.picture import (
    MODE_NAMES,
    Header,
    Mode,
    Reading,
    explain_failure,
    quiet_decoding,
    read_pixels,
)
from tasks.images.formats.picture_files import PictureFiles
from tasks.images.formats.picture_folders import (
    SplitFiles,
    divide,
    find_classes,
    label_pictures,
    left_out,
    whole,
)
from tasks.images.rows import RawDataset, RawSplit, Rows

CHANNELS: dict[Mode, tuple[int, ...]] = {"L": (), "RGB": (3,), "I;16": (), "F": ()}
DTYPES: dict[Mode, type[np.generic]] = {
    "L": np.uint8,
    "RGB": np.uint8,
    "I;16": np.uint16,
    "F": np.float32,
}


Counted = tuple[Header, int, Path]
"""A header, how many pictures have it, and the first of them."""


class Form(NamedTuple):
    """What all pictures become."""

    mode: Mode
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return (self.height, self.width, *CHANNELS[self.mode])


class PictureRows(Rows):
    """Pictures as an array; each file is read when its block is.

    Args:
        paths: of the files.
        form: that they are read in.
    """

    def __init__(self, name: str, paths: list[str], form: Form, reading: Reading) -> None:
        super().__init__(name, (len(paths), *form.shape), np.dtype(DTYPES[form.mode]))
        self._paths, self._form, self._reading = paths, form, reading

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All pictures, in consecutive blocks."""
        for start in range(0, len(self), self.block_rows):
            paths = self._paths[start : start + self.block_rows]
            with quiet_decoding():
                block = np.stack([self._read(path) for path in paths])
            yield block

    def _read(self, path: str) -> NDArray[Any]:
        """The picture; black where it cannot be read and faults are collected."""
        try:
            picture = read_pixels(path, self._form.mode, self._reading)
            if picture.shape != self.shape[1:]:
                reason = f"it has pixels of shape {picture.shape}, {self.shape[1:]} by its header"
                raise explain_failure(path, ValueError(reason))
        except TransientError:
            raise
        except StepError as error:
            report_fault(error)
            return np.zeros(self.shape[1:], self.dtype)
        return picture

    def row_name(self, row: int) -> str:
        """The path of the picture's file."""
        return shown(self._paths[row])

    def select(self, wanted: NDArray[np.bool_]) -> Rows:
        """The pictures for which `wanted`, (N,), is true; the others are not read."""
        paths = [self._paths[row] for row in np.flatnonzero(wanted)]
        return PictureRows(self.name, paths, self._form, self._reading)


def open_pictures(
    found: PictureFiles, test_found: PictureFiles | None, reading: Reading
) -> RawDataset:
    """The pictures of a folder, and of one of test pictures; all become alike."""
    splits = divide(found, has_test=test_found is not None)
    classes = find_classes(splits["train"])
    unused = left_out(found, splits["train"])
    folders = [found]
    if test_found:
        folders.append(test_found)
        splits["test"] = whole(test_found, classes)
        unused += left_out(test_found, splits["test"])
    form = common_form(folders, reading)
    if len({(header.height, header.width) for folder in folders for header in folder.headers}) > 1:
        # An inspection, which has reported this, shows them as they would be if they were resized.
        reading = reading._replace(size=(form.height, form.width))

    def open_split(split: SplitFiles) -> RawSplit:
        rows = PictureRows(shown(split.folder), split.paths(), form, reading)
        return RawSplit(rows, label_pictures(split, classes))

    test = open_split(splits["test"]) if "test" in splits else None
    return RawDataset(open_split(splits["train"]), test, classes, unused)


def common_form(folders: list[PictureFiles], reading: Reading) -> Form:
    """The form of all pictures: in colour if one of them is.

    Where faults are collected, pictures that differ in size get that of most.

    Raises:
        StepError: they differ in depth, or in size where they are not resized.
    """
    headers = [(header, *found) for folder in folders for header, found in folder.headers.items()]
    modes = {header.mode for header, _, _ in headers}
    if len(modes - {"L", "RGB"}) and len(modes) > 1:
        raise StepError(
            f"{_contrast(headers, lambda header: MODE_NAMES[header.mode])}: store them alike"
        )
    is_colored = "RGB" in modes or (reading.in_color and modes == {"L"})
    mode: Mode = "RGB" if is_colored else headers[0][0].mode
    if reading.size:
        return Form(mode, *reading.size)
    sizes = Counter[tuple[int, int]]()
    for header, count, _ in headers:
        sizes[header.height, header.width] += count
    ((height, width), _), *others = sizes.most_common()
    if others:
        report_fault(
            f"{_contrast(headers, lambda header: f'{header.height} x {header.width} pixels')}, "
            f"{len(sizes)} sizes in all: resize all pictures, with --source.resize {height}x{width}"
        )
    return Form(mode, height, width)


def _contrast(headers: list[Counted], describe: Callable[[Header], str]) -> str:
    """Name one of the pictures that differ from most, and one of most."""
    counts, examples = Counter[str](), dict[str, Path]()
    for header, count, first in headers:
        counts[describe(header)] += count
        examples.setdefault(describe(header), first)
    (usual, _), *others = counts.most_common()
    return f"{shown(examples[others[-1][0]])} is {others[-1][0]}, {shown(examples[usual])} {usual}"
