"""The files of a folder of pictures: which there are, and which of them are pictures."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import StepError, TransientError
from tasks.images.faults import report_fault
from tasks.images.formats.errors import shown
from tasks.images.formats.picture import (
    DamagedPictureError,
    Header,
    Reading,
    formats_by_suffix,
    quiet_decoding,
    read_header,
    read_pixels,
)

Parts = tuple[str, ...]
"""A path relative to the folder of pictures."""
SERVICE_FOLDERS = {
    *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "recycler"),
    *("system volume information", "lost+found", "found.000", "__macosx", "__pycache__"),
    *("network trash folder", "temporary items"),
}
"""What file systems, network drives and archivers add; in lower case."""
NO_SUFFIX = "files without a suffix"


class Unused(NamedTuple):
    """A kind of files or folders that are not used."""

    reason: str
    what: str
    """The suffix of files, or a whole name."""
    folder: Parts
    """Where they lie."""


class PictureFiles(NamedTuple):
    """The pictures of a folder."""

    folder: Path
    files: list[Parts]
    """In the order of their paths; at least one."""
    headers: dict[Header, tuple[int, Path]]
    """How many files have each, and the first of them."""
    unused: Counter[Unused]


def find_pictures(
    folder: Path, allowed: Path | None, reading: Reading, skip_damaged: bool = False
) -> PictureFiles:
    """All pictures beneath a folder; the header of each is read.

    Args:
        allowed: no link may lead out of this folder.
        skip_damaged: leave out what cannot be decoded; for this, all pixels are read.

    Raises:
        StepError: there are none, or one cannot be used.
        TransientError: one changed just now.
    """
    if not folder.is_dir():
        raise StepError(f"{shown(folder)} is not a folder: name the folder of the pictures")
    candidates: list[Parts] = []
    unused: Counter[Unused] = Counter()
    for entry in _walk(folder, (), (os.path.realpath(folder),), allowed):
        if isinstance(entry, Unused):
            unused[entry] += 1
        else:
            candidates.append(entry)
    files: list[Parts] = []
    headers: dict[Header, tuple[int, Path]] = {}
    with quiet_decoding():
        for file in sorted(candidates):
            found = _read(folder, file, reading, skip_damaged)
            if isinstance(found, Unused):
                unused[found] += 1
                continue
            files.append(file)
            count, first = headers.get(found, (0, folder.joinpath(*file)))
            headers[found] = (count + 1, first)
            if found.frames:
                unused[_unused("frames after the first", file)] += 1
    if not files:
        raise StepError(f"{shown(folder)} holds no picture that can be read: place some there")
    return PictureFiles(folder, files, headers, unused)


def path_of(folder: Path, file: Parts) -> str:
    """The path of a file, as text: a million of them take less memory and time than as Paths."""
    return os.path.join(folder, *file)  # noqa: PTH118


def _unused(reason: str, file: Parts) -> Unused:
    """A file that is not used, by its suffix; hidden files without one have their names."""
    name = file[-1]
    whole = name if name.startswith(".") else NO_SUFFIX
    return Unused(reason, Path(name).suffix.lower() or whole, file[:-1])


def _read(folder: Path, file: Parts, reading: Reading, skip_damaged: bool) -> Header | Unused:
    """The header of a picture, or why it is left out."""
    path, named = path_of(folder, file), Path(file[-1]).suffix.lower() in formats_by_suffix()
    try:
        header = read_header(path, reading)
        if skip_damaged:
            read_pixels(path, header.mode, reading)
    except StepError as error:
        may_be_none = isinstance(error, (DamagedPictureError, TransientError))
        if may_be_none and not named:
            return _unused("no pictures", file)
        if isinstance(error, TransientError):
            raise
        if skip_damaged and isinstance(error, DamagedPictureError):
            return Unused("damaged", file[-1], file[:-1])
        report_fault(error)
        return Unused("refused", file[-1], file[:-1])
    return header


def _walk(
    folder: Path, parts: Parts, ancestors: Parts, allowed: Path | None
) -> Iterator[Parts | Unused]:
    """All files beneath a folder, in any order.

    Args:
        parts: the folder, relative to that of the pictures.
        ancestors: the real paths of the folder and of all that it lies in.
    """
    path = path_of(folder, parts)
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                yield from _look_at(folder, (*parts, entry.name), entry, ancestors, allowed)
    except OSError as error:  # left out, its class would vanish
        raise StepError(
            f"{shown(error.filename or path)} cannot be read: {error.strerror}: allow this user to "
            "read it, or move it elsewhere"
        ) from None


def _look_at(
    folder: Path, parts: Parts, entry: os.DirEntry[str], ancestors: Parts, allowed: Path | None
) -> Iterator[Parts | Unused]:
    """A file, or the files of a folder, or why it is left out."""
    name, is_folder = entry.name, entry.is_dir()
    if is_folder and name.lower() in SERVICE_FOLDERS:
        yield Unused("service folders", name, parts[:-1])
    elif name.startswith("."):
        unused = Unused("hidden folders", name, parts[:-1])
        yield unused if is_folder else _unused("hidden", parts)
    elif is_folder:
        real = _real_path(entry, ancestors, allowed)
        yield from _walk(folder, parts, (*ancestors, real), allowed)
    elif entry.is_file():
        _real_path(entry, (), allowed)
        yield parts
    elif Path(name).suffix.lower() in formats_by_suffix():
        found = "is a link to nothing" if entry.is_symlink() else "is not a file"
        raise StepError(f"{shown(entry.path)} {found}: remove it, or put the picture there")
    else:
        yield _unused("not files", parts)


def _real_path(entry: os.DirEntry[str], ancestors: Parts, allowed: Path | None) -> str:
    """Where a file or folder is; a link may lead neither out of `allowed` nor in a circle."""
    if not entry.is_symlink():
        return os.path.join(ancestors[-1], entry.name) if ancestors else ""  # noqa: PTH118
    real = os.path.realpath(entry.path)
    if allowed and not Path(real).is_relative_to(allowed):
        raise StepError(
            f"{shown(entry.path)} leads out of {allowed}, the only place data may be in"
        )
    if real in ancestors:
        raise StepError(f"{shown(entry.path)} is a link to a folder that it lies in: remove it")
    return real
