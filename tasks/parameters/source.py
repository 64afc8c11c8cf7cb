"""The parameters of an image set: its name and its source."""

from tasks.core.form import Group, parameter
from tasks.images.sources import AnySource, FashionMnist

DATASET_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
"""Names become folders, so they can hold nothing that leads elsewhere."""


class SourceParameters(Group):
    """Which images, and their name."""

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
        "Where the images are: grey (N x height x width) or in colour (N x height x width x 3), of "
        "any size, 8 or 16 bit or float",
    )
