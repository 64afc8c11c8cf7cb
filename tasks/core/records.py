"""Small frozen records that steps exchange about what is on disk; arrays are never passed."""

import math
from typing import Literal

from pydantic import BaseModel, Field, RootModel

from tasks.codes.provenance import Split as Split

SPLITS: tuple[Split, ...] = ("train", "test")
"""The splits of a dataset for training."""
ImageType = Literal["uint8", "uint16", "float32"]
DeviceKind = Literal["cpu", "gpu"]
DeviceChoice = Literal["auto", "cpu", "gpu"]
Sha256 = str
"""64 hexadecimal digits."""


class Record(BaseModel, frozen=True, extra="forbid"):
    """Base of all records."""


class FileRecord(Record):
    """One file of a run or model folder."""

    path: str = Field(description="relative to the folder it belongs to")
    size: int = Field(ge=0, description="bytes")
    sha256: Sha256


class Versions(Record):
    """What trained weights and written files depend on, beside their inputs."""

    python: str
    tensorflow: str
    keras: str
    hdf5: str
    project: str


class DatasetRecord(Record):
    """A verified dataset in the artifacts folder."""

    name: str
    folder: str = Field(description="relative to the artifacts folder")
    source: str = Field(description="where it was first read from")
    payload_sha256: Sha256 = Field(description="identifies images and labels together")
    payloads: dict[str, Sha256] = Field(
        description="SHA-256 of each array, <split>_images and <split>_labels, as an uncompressed "
        "IDX file; of <split>_index too if the splits were drawn from one set"
    )
    image_shape: tuple[int, ...] = Field(description="height, width and, in colour, 3")
    dtype: ImageType
    rows: dict[Split, int] = Field(description="images of each split")
    scale: float = Field(gt=0, description="the training maximum; the pixel value that becomes 1.0")
    duplicates: int = Field(0, ge=0, description="test images that are training images too")
    class_names: tuple[str, ...] = Field(
        (), description="by label; further classes are named by their number"
    )

    def class_name(self, label: int) -> str:
        """The name of a class."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    @property
    def pixels(self) -> int:
        """Values of one image, each colour counted."""
        return math.prod(self.image_shape)


class DataSummary(Record):
    """Mean and standard deviation of the training images' pixels, on a coarse grid of cells.

    On the 0 to 1 scale; each cell has the means, over its pixels, of both.
    """

    means: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]


class Probes(Record):
    """Accuracies on the test images of classifiers that learned on the training images."""

    linear: float = Field(description="ridge regression on the classes, in closed form")
    nearest_1: float = Field(description="the class of the nearest training image")
    nearest_5: float = Field(description="the class of most of the five nearest training images")


class ClassMetrics(Record):
    """How well the test images of one class are restored."""

    label: int
    images: int
    loss: float = Field(description="binary cross-entropy per pixel, nats")
    floor: float = Field(description="the least that loss can be on these images")
    mse: float = Field(description="mean squared error, 0 to 1 scale")


class Metrics(Record):
    """How good a model is on the test images."""

    validation_loss: float = Field(description="binary cross-entropy per pixel, nats")
    entropy_floor: float = Field(description="the least that loss can be on these images, nats")
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")
    pca_mse: float = Field(description="the same of a PCA with as many components as code units")
    psnr: float = Field(description="peak signal to noise, mean over images, decibels")
    ssim: float = Field(description="structural similarity, mean over images")
    code_size: int = Field(ge=1)
    live_units: int = Field(description="units of the code that carry information")
    activity: float = Field(description="mean share of the images for which a unit is not zero")
    correlation: float = Field(description="mean size of the correlation of two live units")
    effective_dimension: float = Field(description="directions in which the codes spread")
    probes: Probes | None = Field(description="null where the images have no labels")
    classes: tuple[ClassMetrics, ...] = Field(description="empty where the images have no labels")
    worst: tuple[int, ...] = Field(
        description="rows of the test images restored worst, worst first"
    )
    best: tuple[int, ...] = Field(description="rows of those restored best, best first")

    @property
    def excess_loss(self) -> float:
        """Loss above the entropy floor, in nats per pixel."""
        return self.validation_loss - self.entropy_floor


class EpochRecord(Record):
    """Mean binary cross-entropy per pixel, in nats, of one epoch."""

    loss: float = Field(description="on sampled training batches, as they were met")
    validation_loss: float = Field(description="on all validation images, after the epoch")


class FigureRecord(Record):
    """One figure of a run."""

    path: str = Field(description="relative to the run's folder")
    title: str
    text: str = Field(description="what it shows, for those who cannot see it")


class FigureList(RootModel[tuple[FigureRecord, ...]], frozen=True):
    """The figures of a run, in the order of its report."""
