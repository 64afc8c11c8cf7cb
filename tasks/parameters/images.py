"""What the parameters of several flows share: images, names of runs, seeds, the grace period."""

from typing import Annotated, Any

from pydantic import StringConstraints

from tasks.core.form import Group, parameter, titled
from tasks.images.classes import MAX_LABEL
from tasks.images.sources import AnySource, FashionMnist

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
DATASET_NAME: dict[str, Any] = {"pattern": r"^[a-z0-9][a-z0-9-]*$", "max_length": 64}
RUN_NAME: dict[str, Any] = {"pattern": r"^[A-Za-z0-9][A-Za-z0-9-]*$", "max_length": 128}
"""Names become parts of paths, so they can hold nothing that leads elsewhere."""
SEED: dict[str, Any] = {"ge": 0, "le": 2**32 - 1}


class SourceParameters(Group):
    """Which images, and their name."""

    dataset: str = parameter(
        "fashion-mnist",
        "Dataset",
        "Name of the dataset: fashion-mnist, or any other together with a source of its own",
        unit="lower-case letters, digits and hyphens",
        **DATASET_NAME,
    )
    source: AnySource = parameter(
        FashionMnist(),
        "Source",
        "Where the images are: grey or in colour, all of one size, 8 or 16 bit or float",
    )
    class_names: tuple[ClassName, ...] = parameter(
        (),
        "Class names",
        "Names of the classes 0, 1, ... (or of 1, 2, ... if the labels are those from 1 to the "
        "number of names); empty: those of Fashion-MNIST, of the sub-folders, or the numbers",
        max_length=MAX_LABEL + 1,
    )


class DataParameters(SourceParameters):
    """Which images to train and test on."""

    test_share: float = parameter(
        0.1,
        "Test share",
        "Share of the images to hold out for testing if the source has no test images",
        gt=0,
        lt=1,
    )
    split_seed: int = parameter(0, "Split seed", "Random seed for choosing the test images", **SEED)


Images = Annotated[DataParameters, titled("Images")]


class ImagesParameters(SourceParameters):
    """Which images to encode: all that the source has, test images last."""


EncodedImages = Annotated[ImagesParameters, titled("Images")]
