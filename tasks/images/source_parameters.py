"""Where images come from, as a person describes it: in the form, by flags, in the manifest."""

from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Tag, field_validator

from tasks.core.form import Group, parameter

DATASET_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
"""Names become folders, so they can hold nothing that leads elsewhere."""
A_SHARE = "empty: a share of the images is set apart"


class FashionMnist(Group, title="Fashion-MNIST"):
    """Looked for on this machine, then downloaded."""


class Described(Group):
    """A source that is not looked for but named."""

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_nothing(cls, value: Any) -> Any:
        """A form sends an empty text for a field that was cleared."""
        return None if value == "" else value


class IdxFolder(Described, title="Folder of IDX files"):
    """The files of the MNIST family, gzipped or not."""

    idx_folder: str = parameter(
        ...,
        "Folder of IDX files",
        "Holds train-images-idx3-ubyte and, if there are any, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte; each may end in .gz",
    )


class NpzFile(Described, title="NumPy archive (.npz)"):
    """Arrays by name in one file."""

    npz_file: str = parameter(..., "NumPy archive", "Path of the .npz file")
    images_array: str = parameter("x_train", "Array of images", "Its name in the archive")
    labels_array: str | None = parameter(
        None, "Array of labels", "Name of the array of their classes, if there is one"
    )
    test_images_array: str | None = parameter(None, "Array of test images", f"Its name; {A_SHARE}")
    test_labels_array: str | None = parameter(
        None, "Array of test labels", "Name of the array of their classes, if there is one"
    )


class NpyFiles(Described, title="NumPy files (.npy)"):
    """One array a file."""

    images_file: str = parameter(..., "File of images", "Path of the .npy file")
    labels_file: str | None = parameter(
        None, "File of labels", "Path of the .npy file of their classes, if there is one"
    )
    test_images_file: str | None = parameter(None, "File of test images", f"Its path; {A_SHARE}")
    test_labels_file: str | None = parameter(
        None, "File of test labels", "Path of the .npy file of their classes, if there is one"
    )


class Hdf5File(Described, title="HDF5 file"):
    """Datasets by path in one file."""

    hdf5_file: str = parameter(..., "HDF5 file", "Path of the file")
    images_dataset: str = parameter("images", "Dataset of images", "Its path in the file")
    labels_dataset: str | None = parameter(
        None, "Dataset of labels", "Path of the dataset of their classes, if there is one"
    )
    test_images_dataset: str | None = parameter(
        None, "Dataset of test images", f"Its path in the file; {A_SHARE}"
    )
    test_labels_dataset: str | None = parameter(
        None, "Dataset of test labels", "Path of the dataset of their classes, if there is one"
    )


class PictureFolder(Described, title="Folder of pictures"):
    """PNG and JPEG files of one size."""

    picture_folder: str = parameter(
        ..., "Folder of pictures", "Where they are; in sub-folders, whose names are the classes"
    )
    test_picture_folder: str | None = parameter(
        None, "Folder of test pictures", f"Where they are; {A_SHARE}"
    )


KINDS: dict[str, type[Group]] = {
    kind.__name__: kind for kind in (IdxFolder, NpzFile, NpyFiles, Hdf5File, PictureFolder)
}


def _kind_of(value: Any) -> str:
    """No two kinds share a field: Prefect's form tells them apart by their fields alone."""
    if isinstance(value, BaseModel):
        return type(value).__name__
    if isinstance(value, dict):
        for name, kind in KINDS.items():
            if kind.model_fields.keys() & value.keys():
                return name
    return FashionMnist.__name__


AnySource = Annotated[
    Annotated[FashionMnist, Tag("FashionMnist")]
    | Annotated[IdxFolder, Tag("IdxFolder")]
    | Annotated[NpzFile, Tag("NpzFile")]
    | Annotated[NpyFiles, Tag("NpyFiles")]
    | Annotated[Hdf5File, Tag("Hdf5File")]
    | Annotated[PictureFolder, Tag("PictureFolder")],
    Discriminator(_kind_of),
]


def _offer_each(schema: dict[str, Any]) -> None:
    """Prefect's form knows the choice between objects as `anyOf` alone."""
    schema["anyOf"] = schema.pop("oneOf")


class SourceParameters(Group):
    """Which images, by a name of one's own."""

    dataset: str = parameter(
        "fashion-mnist",
        "Dataset",
        "Name of the dataset. `fashion-mnist` is checked against its published contents; any other "
        "name needs another source",
        unit="lower-case letters, digits and hyphens",
        pattern=DATASET_PATTERN,
        max_length=64,
    )
    source: AnySource = parameter(
        FashionMnist(),
        "Source",
        "What holds the images: grey (N x height x width) or in colour (N x height x width x 3), "
        "of any size, 8 or 16 bit or float",
        json_schema_extra=_offer_each,
    )
