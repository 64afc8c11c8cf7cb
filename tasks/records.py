"""What steps exchange: small frozen facts about things on disk. Arrays never travel."""

from typing import Literal

from pydantic import BaseModel, Field

Split = Literal["train", "test"]
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
        description="SHA-256 of each of the four arrays as an uncompressed IDX file"
    )
    image_shape: tuple[int, int] = Field(description="height, width")
    train_rows: int = Field(ge=1)
    test_rows: int = Field(ge=1)
    scale: float = Field(gt=0, description="the training maximum; the pixel value that becomes 1.0")

    @property
    def pixels(self) -> int:
        """Values of one image."""
        height, width = self.image_shape
        return height * width


class Metrics(Record):
    """How good a model is on the test images."""

    validation_loss: float = Field(description="binary cross-entropy per pixel, nats")
    entropy_floor: float = Field(description="the least that loss can be on these images, nats")
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")
    live_units: int = Field(description="units of the code that carry information")


class EpochRecord(Record):
    """Mean binary cross-entropy per pixel, in nats, of one epoch."""

    loss: float = Field(description="on sampled training batches, as they were met")
    validation_loss: float = Field(description="on all validation images, after the epoch")
