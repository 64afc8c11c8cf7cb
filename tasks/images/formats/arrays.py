"""Files of arrays, told apart by their first bytes; the parts of a source, by usual names."""

from pathlib import Path
from typing import NamedTuple

import h5py

from tasks.core.errors import StepError
from tasks.images.arrays.stored import ArrayFile, describe_arrays
from tasks.images.formats.errors import GZIP_MAGIC, read_errors_explained
from tasks.images.formats.hdf5 import open_hdf5_file
from tasks.images.formats.numpy import open_npy_array, open_npz_file

NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
OTHER_MAGIC = {
    GZIP_MAGIC: "is gzipped: unpack it with gunzip",
    b"BZh": "is compressed: unpack it with bunzip2",
    b"\xfd7zXZ": "is compressed: unpack it with unxz",
    b"\x80": "is a pickle of Python, which is code: save the arrays with np.savez",
    b"MATLAB 5.0": "is a MATLAB file of an old version: save it with -v7.3",
    b"<": "is a page of HTML or XML, not the file that was to be downloaded: replace it",
}
"""How files begin that are often named by mistake, and what to do about each."""
MAGIC_BYTES = 16


class Names(NamedTuple):
    """Usual names of the arrays of a part, in lower case and with `_` for `/`."""

    own: tuple[str, ...]
    """Names that say which part it is."""
    plain: tuple[str, ...] = ()
    """Names that say only whether these are images or labels."""


PLAIN_IMAGES = ("images", "image", "imgs", "x", "data", "arr_0")
PLAIN_LABELS = ("labels", "label", "y", "target", "targets", "arr_1")
PARTS = {
    "images": Names(
        ("x_train", "train_x", "train_images", "images_train", "train_image", "train_data"),
        PLAIN_IMAGES,
    ),
    "labels": Names(
        ("y_train", "train_y", "train_labels", "labels_train", "train_label", "train_target"),
        PLAIN_LABELS,
    ),
    "test_images": Names(
        ("x_test", "test_x", "test_images", "images_test", "test_image", "test_data")
    ),
    "test_labels": Names(
        ("y_test", "test_y", "test_labels", "labels_test", "test_label", "test_target")
    ),
}
"""The parts of a source, with the names under which public sets store them."""


def open_array_file(path: Path) -> ArrayFile:
    """Read the names and shapes of the arrays of an `.npy`, `.npz` or HDF5 file."""
    if path.is_dir():
        raise StepError(f"{path} is a folder, expected an .npy, .npz or HDF5 file")
    with read_errors_explained(path, "a file of arrays"), path.open("rb") as file:
        start = file.read(MAGIC_BYTES)
    if start.startswith(NPY_MAGIC):
        array = open_npy_array(path)
        return ArrayFile(path, {"": array.shape}, lambda _: array)
    if start.startswith(ZIP_MAGIC):
        return open_npz_file(path)
    if h5py.is_hdf5(path):  # MATLAB's begin with text
        return open_hdf5_file(path)
    for magic, advice in OTHER_MAGIC.items():
        if start.startswith(magic):
            raise StepError(f"{path} {advice}")
    raise StepError(
        f"{path} starts with {start[:4].hex() or 'nothing'}, expected an .npy, .npz or HDF5 file: "
        "it is another file, or damaged: replace it"
    )


class Choice(NamedTuple):
    """What the user says about where a part is."""

    path: Path | None = None
    """Its file; None for that of the images."""
    name: str | None = None
    """Of its array; None if it is to be found."""


class Place(NamedTuple):
    """Where a part is."""

    file: ArrayFile
    name: str


def find_parts(choices: dict[str, Choice]) -> dict[str, Place]:
    """Find the array of each part: the one that is named, or else by the usual names.

    Where the array of images is named, no other is searched for in its file.

    Args:
        choices: by part, one of `PARTS`; that of the images has a path.

    Raises:
        StepError: what is named is missing, or an array could be several.
    """
    files = {
        choice.path: open_array_file(choice.path) for choice in choices.values() if choice.path
    }
    main, others = choices["images"].path, choices["test_images"].path
    assert main  # noqa: S101 - its field is required
    places: dict[str, Place] = {}
    for part, (path, name) in choices.items():
        file = files[path or (others if part == "test_labels" and others else main)]
        if name is not None:
            places[part] = Place(file, _require_name(file, name, part))
        elif path:
            places[part] = Place(file, _require_array(file, part, path != main))
        elif choices["images"].name is None or file.path != main:
            found = _find_array(file, part, file.path != main)
            if found is not None and (part != "test_labels" or "test_images" in places):
                places[part] = Place(file, found)
    return places


def _require_name(file: ArrayFile, name: str, part: str) -> str:
    if file.shapes.keys() == {""}:
        raise StepError(
            f"{file.path} is an .npy file, whose one array has no name: leave out {_flag(part)}"
        )
    return name.strip("/")


def _require_array(file: ArrayFile, part: str, own_file: bool) -> str:
    """The array of a part for which the file was named: if there is only one, that one."""
    found = _find_array(file, part, own_file)
    if found is None and len(file.shapes) == 1:
        return next(iter(file.shapes))
    if found is None:
        raise StepError(
            f"{file.path} has no array with a usual name of {_title(part)}, but "
            f"{describe_arrays(file.shapes)}: name one with {_flag(part)}"
        )
    return found


def _find_array(file: ArrayFile, part: str, own_file: bool) -> str | None:
    """The array of a part, by its usual names; in a file of test images `test` may lack in them."""
    names, plain = PARTS[part], PARTS[part.removeprefix("test_")]
    tiers = (names.own, names.plain) if not own_file else (names.own, plain.own, plain.plain)
    for tier in tiers:
        found = [name for name in file.shapes if name.lower().replace("/", "_") in tier]
        if len(found) > 1:
            shapes = {name: file.shapes[name] for name in found}
            raise StepError(
                f"{file.path} has several arrays that could be the {_title(part)}, "
                f"{describe_arrays(shapes)}: name one with {_flag(part)}"
            )
        if found:
            return found[0]
    return None


def _title(part: str) -> str:
    return part.replace("_", " ")


def _flag(part: str) -> str:
    return f"--source.{part.replace('_', '-')}-array"
