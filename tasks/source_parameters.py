"""Where images come from, as a person describes it: in the form, by flags, in the manifest."""

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.fields import Group, parameter

DATASET_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
"""Names become folders, so they can hold nothing that leads elsewhere."""


class FashionMnist(Group, title="Fashion-MNIST"):
    """Looked for on this machine, then downloaded."""

    kind: Literal["fashion-mnist"]


class IdxFolder(Group, title="Folder of IDX files"):
    """The files of the MNIST family, gzipped or not."""

    kind: Literal["idx"]
    folder: str = parameter(
        ...,
        "Folder",
        "Holds train-images-idx3-ubyte and, if there are any, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte; each may end in .gz",
    )


class NpzFile(Group, title="NumPy archive (.npz)"):
    """Arrays by name in one file."""

    kind: Literal["npz"]
    path: str = parameter(..., "File", "Path of the .npz file")
    images: str = parameter("x_train", "Images", "Name of the array of images")
    labels: str | None = parameter(None, "Labels", "Name of the array of their classes, if any")
    test_images: str | None = parameter(
        None, "Test images", "Name of the array of test images; empty: a share of the images"
    )
    test_labels: str | None = parameter(None, "Test labels", "Name of the array of their classes")


class NpyFiles(Group, title="NumPy files (.npy)"):
    """One array a file."""

    kind: Literal["npy"]
    images: str = parameter(..., "Images", "Path of the .npy file of images")
    labels: str | None = parameter(None, "Labels", "Path of the file of their classes, if any")
    test_images: str | None = parameter(
        None, "Test images", "Path of the file of test images; empty: a share of the images"
    )
    test_labels: str | None = parameter(None, "Test labels", "Path of the file of their classes")


class Hdf5File(Group, title="HDF5 file"):
    """Datasets by path in one file."""

    kind: Literal["hdf5"]
    path: str = parameter(..., "File", "Path of the HDF5 file")
    images: str = parameter("images", "Images", "Path, in the file, of the dataset of images")
    labels: str | None = parameter(None, "Labels", "Path of the dataset of their classes, if any")
    test_images: str | None = parameter(
        None, "Test images", "Path of the dataset of test images; empty: a share of the images"
    )
    test_labels: str | None = parameter(None, "Test labels", "Path of the dataset of their classes")


class PictureFolder(Group, title="Folder of pictures"):
    """PNG and JPEG files of one size."""

    kind: Literal["pictures"]
    folder: str = parameter(
        ..., "Folder", "Holds the pictures; in sub-folders, their names are the classes"
    )
    test_folder: str | None = parameter(
        None, "Test folder", "Holds the test pictures; empty: a share of the pictures"
    )


def _offer_each(schema: dict[str, Any]) -> None:
    """Prefect's form knows the choice between objects as `anyOf` alone."""
    schema["anyOf"] = schema.pop("oneOf")
    del schema["discriminator"]


AnySource = Annotated[
    FashionMnist | IdxFolder | NpzFile | NpyFiles | Hdf5File | PictureFolder,
    Field(discriminator="kind"),
]


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
        FashionMnist(kind="fashion-mnist"),
        "Source",
        "What holds the images: grey (N x height x width) or in colour (N x height x width x 3), "
        "of any size, 8 or 16 bit or float",
        json_schema_extra=_offer_each,
    )
