"""Records of quality: metrics of models, and the baselines they are compared with."""

from typing import Literal

from pydantic import Field

from tasks.core.records import FileRecord, Record


class DataSummary(Record):
    """Mean and standard deviation of the training images' pixels, on a coarse grid of cells.

    On the 0 to 1 scale; each cell has the means of both over its pixels.
    """

    means: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]


class Probes(Record):
    """Accuracies on the test images of classifiers trained on the training images."""

    linear: float = Field(description="ridge regression on the classes, in closed form")
    nearest_1: float = Field(description="class of the nearest training image")
    nearest_5: float = Field(description="majority class of the five nearest training images")


class PixelBaselines(Record):
    """Baselines that depend on the images alone."""

    version: Literal[1] = 1
    entropy_floor: float = Field(description="of the test images, nats per pixel")
    probes: Probes | None = Field(description="on the pixels; null without labels")
    summary: DataSummary
    components: FileRecord = Field(description="file with the mean image and PCA's components")
    component_count: int


class PcaScores(Record):
    """Quality of a PCA on the test images; its reconstructions are not clipped to 0..1."""

    version: Literal[1] = 1
    components: int
    mse: float
    psnr: float
    ssim: float
    probes: Probes | None


class Baselines(Record):
    """What every model of these images is compared with."""

    pixels: PixelBaselines
    pca: tuple[PcaScores, ...] = Field(description="one for each code size in the run")

    def pca_of(self, components: int) -> PcaScores:
        """The scores of the PCA with this number of components."""
        return next(scores for scores in self.pca if scores.components == components)


class ClassMetrics(Record):
    """Reconstruction quality on the test images of one class."""

    label: int
    images: int
    loss: float = Field(description="binary cross-entropy per pixel, nats")
    floor: float = Field(description="lowest possible loss on these images, nats per pixel")
    mse: float = Field(description="mean squared error, 0 to 1 scale")


class BasisMetrics(Record):
    """How well an anchored model keeps its basis, on the test images.

    Old codes are those of the anchor for today's images.
    """

    own_nearest: float = Field(
        description="share of images whose own old code is the nearest of all old codes to their "
        "new one"
    )
    mean_distance: float = Field(description="between an image's new and old code")
    probes: Probes | None = Field(
        description="trained on old codes, tested on new ones; null without labels"
    )


class Metrics(Record):
    """Quality of a model on the test images."""

    validation_loss: float = Field(description="binary cross-entropy per pixel, nats")
    entropy_floor: float = Field(description="lowest possible loss on these images, nats per pixel")
    reconstruction_mse: float = Field(description="mean over images and pixels, 0 to 1 scale")
    pca_mse: float = Field(description="the same for a PCA with as many components as code units")
    psnr: float = Field(description="peak signal-to-noise ratio, mean over images, decibels")
    ssim: float = Field(description="structural similarity, mean over images")
    code_size: int = Field(ge=1)
    live_units: int = Field(description="code units that carry information")
    activity: float = Field(description="mean unit activity: share of images with a nonzero value")
    correlation: float = Field(description="mean absolute correlation between live units")
    effective_dimension: float = Field(description="number of directions in which codes spread")
    probes: Probes | None = Field(description="null where the images have no labels")
    kept_basis: BasisMetrics | None = Field(
        None, description="null for a model that defines its own basis"
    )
    classes: tuple[ClassMetrics, ...] = Field(description="empty where the images have no labels")
    worst: tuple[int, ...] = Field(
        description="rows of the test images with the largest errors, largest first"
    )
    best: tuple[int, ...] = Field(description="rows of those with the smallest, smallest first")

    @property
    def excess_loss(self) -> float:
        """Loss above the entropy floor, nats per pixel."""
        return self.validation_loss - self.entropy_floor
