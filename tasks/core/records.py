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
CodesSha256 = dict[str, dict[Split, Sha256]]
"""SHA-256 of the codes of a run, by model and split."""


class Record(BaseModel, frozen=True, extra="ignore"):
    """Base of all records.

    Records are read for ever: fields of other versions are ignored, a field that is added needs a
    default, and a bound may be widened, never narrowed. What people may choose is bounded by the
    parameters.
    """


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
        (), description="by label; classes without a name are named by their number"
    )

    def class_name(self, label: int) -> str:
        """The name of a class."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    @property
    def pixels(self) -> int:
        """Values of one image, each colour counted."""
        return math.prod(self.image_shape)


class EpochRecord(Record):
    """Mean binary cross-entropy per pixel, in nats, of one epoch."""

    loss: float = Field(description="on a sample of the training batches, while training")
    validation_loss: float = Field(description="on all validation images, after the epoch")


class FigureRecord(Record):
    """One figure of a run."""

    path: str = Field(description="relative to the run's folder")
    title: str
    text: str = Field(description="alternative text: what the figure shows")


class FigureList(RootModel[tuple[FigureRecord, ...]], frozen=True):
    """The figures of a run, in the order of its report."""
