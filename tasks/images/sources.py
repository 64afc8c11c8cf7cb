"""Where images can come from: each source with its fields in the form and how it is opened."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tasks.core.errors import StepError
from tasks.core.form import Group, parameter
from tasks.core.settings import read_settings
from tasks.images.formats.hdf5 import Hdf5Rows
from tasks.images.formats.idx import IDX_FILES, idx_path, open_idx_folder
from tasks.images.formats.numpy import open_npy, open_npz
from tasks.images.formats.picture import MAX_PICTURE_PIXELS, Background, Reading
from tasks.images.formats.picture_files import PictureFiles, find_pictures
from tasks.images.formats.pictures import open_pictures
from tasks.images.rows import RawDataset, RawSplit, Rows

HOLD_OUT = "leave empty to hold out a share"
IF_ANY = "if there are labels"


class FashionMnist(Group, title="Fashion-MNIST"):
    """Looked for on this machine, then downloaded."""


class Source(Group):
    """A source that the user describes."""

    @abstractmethod
    def open(self) -> RawDataset:
        """Open the source; its values are read later.

        Raises:
            StepError: something is missing, damaged or forbidden.
        """

    @property
    def text(self) -> str:
        """What the source is, for the record of its images."""
        return str(self.model_config["title"])

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        """The form sends an empty text for a field that was cleared."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _test_labels_need_test_images(self) -> Self:
        named = {name.rpartition("_")[0] for name, value in self if value}
        if "test_labels" in named and "test_images" not in named:
            raise ValueError("Test labels are named without test images: name both")
        return self


class IdxFolder(Source, title="Folder of IDX files"):
    """The files of MNIST and its relatives, gzipped or not."""

    idx_folder: str = parameter(
        ...,
        "Folder of IDX files",
        "Holds train-images-idx3-ubyte and, if there are any, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte; each may end in .gz",
    )

    def open(self) -> RawDataset:
        """Open the training images, and whichever of the other files exist."""
        folder = allowed_path(self.idx_folder)
        for name in IDX_FILES.values():
            allowed_path(idx_path(folder, name))  # a link may lead out of the folder
        return open_idx_folder(folder)


class NpzFile(Source, title="NumPy archive (.npz)"):
    """Arrays by name in one file."""

    npz_file: str = parameter(..., "NumPy archive", "Path of the .npz file")
    images_array: str = parameter("x_train", "Array of images", "Its name in the archive")
    labels_array: str | None = parameter(None, "Array of labels", f"Its name, {IF_ANY}")
    test_images_array: str | None = parameter(None, "Array of test images", f"Its name; {HOLD_OUT}")
    test_labels_array: str | None = parameter(None, "Array of test labels", f"Its name, {IF_ANY}")

    def open(self) -> RawDataset:
        """Open the arrays that are named."""
        return _open_arrays(
            partial(open_npz, allowed_path(self.npz_file)),
            train=(self.images_array, self.labels_array),
            test=(self.test_images_array, self.test_labels_array),
        )


class NpyFiles(Source, title="NumPy files (.npy)"):
    """One array per file."""

    images_file: str = parameter(..., "File of images", "Path of the .npy file")
    labels_file: str | None = parameter(None, "File of labels", f"Its path, {IF_ANY}")
    test_images_file: str | None = parameter(None, "File of test images", f"Its path; {HOLD_OUT}")
    test_labels_file: str | None = parameter(None, "File of test labels", f"Its path, {IF_ANY}")

    def open(self) -> RawDataset:
        """Open the files that are named."""
        return _open_arrays(
            lambda name: open_npy(allowed_path(name)),
            train=(self.images_file, self.labels_file),
            test=(self.test_images_file, self.test_labels_file),
        )


class Hdf5File(Source, title="HDF5 file"):
    """Datasets by path in one file."""

    hdf5_file: str = parameter(..., "HDF5 file", "Path of the file")
    images_dataset: str = parameter("images", "Dataset of images", "Its path in the file")
    labels_dataset: str | None = parameter(None, "Dataset of labels", f"Its path, {IF_ANY}")
    test_images_dataset: str | None = parameter(
        None, "Dataset of test images", f"Its path; {HOLD_OUT}"
    )
    test_labels_dataset: str | None = parameter(
        None, "Dataset of test labels", f"Its path, {IF_ANY}"
    )

    def open(self) -> RawDataset:
        """Open the datasets that are named."""
        return _open_arrays(
            partial(Hdf5Rows, allowed_path(self.hdf5_file)),
            train=(self.images_dataset, self.labels_dataset),
            test=(self.test_images_dataset, self.test_labels_dataset),
        )


def _open_arrays(
    open_array: Callable[[str], Rows],
    train: tuple[str, str | None],
    test: tuple[str | None, str | None],
) -> RawDataset:
    """Open the named images and labels of both splits."""

    def open_split(images: str, labels: str | None) -> RawSplit:
        return RawSplit(open_array(images), open_array(labels) if labels else None)

    images, labels = test
    return RawDataset(open_split(*train), open_split(images, labels) if images else None)


class PictureFolder(Source, title="Folder of pictures"):
    """Pictures in any common format."""

    picture_folder: str = parameter(
        ...,
        "Folder of pictures",
        "Where they are; in sub-folders, whose names are the classes. Sub-folders train, test and "
        "val are the splits",
    )
    test_picture_folder: str | None = parameter(
        None, "Folder of test pictures", f"Where they are; {HOLD_OUT}"
    )
    resize: str | None = parameter(
        None,
        "Resize",
        "Size of all images, such as 28x28, to which pictures are stretched or shrunk (bilinear, "
        "antialiased); leave empty if they have one size",
        unit="height x width, pixels",
        pattern=r"^[1-9][0-9]{0,6}x[1-9][0-9]{0,6}$",
    )
    background: Background = parameter(
        "white",
        "Background",
        "What is seen through the transparent parts of pictures; ignore: the colours stored there",
    )
    skip_damaged: bool = parameter(
        False,
        "Skip damaged pictures",
        "Leave out pictures that cannot be decoded, and count them (default: refuse them)",
    )

    @field_validator("resize")
    @classmethod
    def _is_small(cls, resize: str | None) -> str | None:
        if resize and math.prod(map(int, resize.split("x"))) > MAX_PICTURE_PIXELS:
            raise ValueError(f"Must have at most {MAX_PICTURE_PIXELS:,} pixels")
        return resize

    def open(self) -> RawDataset:
        """List the pictures and read their headers; the classes are those for training."""
        size = tuple(map(int, self.resize.split("x"))) if self.resize else None
        reading = Reading(self.background, cast(tuple[int, int] | None, size))

        def find(folder: str) -> PictureFiles:
            return find_pictures(allowed_path(folder), data_root(), reading, self.skip_damaged)

        test = find(self.test_picture_folder) if self.test_picture_folder else None
        return open_pictures(find(self.picture_folder), test, reading)

    @property
    def text(self) -> str:
        """What the source is, for the record of its images."""
        return f"{super().text}, resized to {self.resize}" if self.resize else super().text


def allowed_path(name: str | Path) -> Path:
    """Resolve a path that a run's parameters name; it must lie in the data root, if one is set.

    Raises:
        StepError: it lies elsewhere, or is neither a file nor a folder, such as a pipe.
    """
    allowed = data_root()
    try:
        path = Path(name).expanduser().resolve()
        readable = path.is_file() or path.is_dir() or not path.exists()
    except (RuntimeError, ValueError, OSError) as error:  # links in a circle, no such user, NUL
        raise StepError(f"{name!r} is not a valid path: {error}") from None
    if not readable:
        raise StepError(f"{name} is neither a file nor a folder")
    if allowed and not path.is_relative_to(allowed):
        raise StepError(f"{name} is outside {allowed}, the only place data may be in")
    return path


def data_root() -> Path | None:
    """The only folder that data may lie in, if the deployment sets one."""
    folder = read_settings().data_root
    return folder.resolve() if folder else None


DESCRIBED = (IdxFolder, NpzFile, NpyFiles, Hdf5File, PictureFolder)


def _kind(value: Any) -> str:
    """The kind of source that has the given fields; Fashion-MNIST has none.

    Prefect's form sends only the fields of a source, so that no two kinds may share one. Without
    this, pydantic would report a wrong value once for each kind.
    """
    if isinstance(value, Group):
        return type(value).__name__
    given = value.keys() if isinstance(value, dict) else set()
    kinds = [kind for kind in DESCRIBED if kind.model_fields.keys() & given]
    return kinds[0].__name__ if kinds else FashionMnist.__name__


def _offer_any(schema: dict[str, Any]) -> None:
    """Prefect's form shows a choice between objects only if it is an `anyOf`."""
    schema["anyOf"] = schema.pop("oneOf")


AnySource = Annotated[
    Annotated[FashionMnist, Tag("FashionMnist")]
    | Annotated[IdxFolder, Tag("IdxFolder")]
    | Annotated[NpzFile, Tag("NpzFile")]
    | Annotated[NpyFiles, Tag("NpyFiles")]
    | Annotated[Hdf5File, Tag("Hdf5File")]
    | Annotated[PictureFolder, Tag("PictureFolder")],
    Discriminator(_kind),
    Field(json_schema_extra=_offer_any),
]
