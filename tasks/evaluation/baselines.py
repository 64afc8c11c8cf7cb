"""What depends on the images alone: computed once for each dataset, stored beside its arrays."""

import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tasks.core.locks import lock
from tasks.core.records import SPLITS, DatasetRecord, DataSummary, FileRecord, Probes, Record
from tasks.core.storage import (
    describe_file,
    is_intact,
    remove_partial_files,
    write_bytes,
    write_record,
)
from tasks.evaluation.metrics import (
    entropy_floor,
    image_blocks,
    mean_squared_errors,
    on_unit_scale,
    peak_signal_to_noise,
    structural_similarity,
)
from tasks.evaluation.pca import COVARIANCE_PIXELS, Pca, measure_pixels
from tasks.evaluation.probes import probe, probed_rows
from tasks.images.rows import Images
from tasks.images.store import open_images, open_labels
from tasks.models.architectures import MAX_CODE_SIZE

logger = logging.getLogger(__name__)

BASELINES_FILE = "baselines.json"
COMPONENTS_FILE = "pca.npy"
PARTS = 16
"""In which a sample is made ready for the probes."""
GRID = 8
"""Cells along each side of a data summary."""

R = TypeVar("R", bound=Record)


class PixelBaselines(Record):
    """What was measured on the images themselves."""

    version: Literal[1] = 1
    entropy_floor: float = Field(description="of the test images, nats per pixel")
    probes: Probes | None = Field(description="on the pixels; null without labels")
    summary: DataSummary
    components: FileRecord = Field(description="the file of the PCA")
    component_count: int


class PcaScores(Record):
    """How good PCA with so many components is on the test images; nothing is clipped."""

    version: Literal[1] = 1
    components: int
    mse: float
    psnr: float
    ssim: float
    probes: Probes | None


class Baselines(Record):
    """What any model of these images is measured against."""

    pixels: PixelBaselines
    pca: tuple[PcaScores, ...] = Field(description="one for each size of code in the run")

    def pca_of(self, components: int) -> PcaScores:
        """The PCA with so many components."""
        return next(scores for scores in self.pca if scores.components == components)


def obtain_baselines(dataset: DatasetRecord, code_sizes: set[int], root: Path) -> Baselines:
    """Read the dataset's baselines; compute and store what is not there yet."""
    folder, most = root / dataset.folder, min(max(code_sizes, default=1), dataset.pixels)
    with lock(folder.name, root):
        remove_partial_files(folder)
        pixels = _stored(folder / BASELINES_FILE, PixelBaselines)
        if pixels is None or not _has_components(folder, pixels, most):
            logger.info("Measuring the images of %s; done once", folder.name)
            pixels = _measure_pixels(dataset, most, root)
        return Baselines(
            pixels=pixels,
            pca=tuple(_obtain_pca_scores(dataset, size, root) for size in sorted(code_sizes)),
        )


def _has_components(folder: Path, pixels: PixelBaselines, count: int) -> bool:
    return pixels.component_count >= count and is_intact(folder, pixels.components)


def _obtain_pca_scores(dataset: DatasetRecord, components: int, root: Path) -> PcaScores:
    path = root / dataset.folder / f"pca-{components}.json"
    stored = _stored(path, PcaScores)
    if stored is None:
        stored = _score_pca(dataset, components, root)
        write_record(path, stored)
    return stored


def load_pca(dataset: DatasetRecord, components: int, root: Path) -> Pca:
    """The first components of the dataset's PCA, after `obtain_baselines`."""
    rows = np.load(root / dataset.folder / COMPONENTS_FILE, mmap_mode="r", allow_pickle=False)
    chosen = np.asarray(rows[: components + 1], np.float32)
    return Pca(chosen[0], chosen[1:])


def _stored(path: Path, kind: type[R]) -> R | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _measure_pixels(dataset: DatasetRecord, count: int, root: Path) -> PixelBaselines:
    train = open_images(dataset, "train", root)
    if dataset.pixels <= COVARIANCE_PIXELS:  # the covariance gives them all
        count = min(dataset.pixels, MAX_CODE_SIZE)
    measured = measure_pixels(train, dataset.scale, count)
    folder = root / dataset.folder
    content = BytesIO()  # straight to a full disk, NumPy would not say what is wrong
    np.save(content, np.vstack([measured.mean, measured.components]), allow_pickle=False)
    write_bytes(folder / COMPONENTS_FILE, content.getvalue())
    baselines = PixelBaselines(
        entropy_floor=entropy_floor(open_images(dataset, "test", root), dataset.scale),
        probes=_probe(dataset, lambda images: _flat(images, dataset.scale), root),
        summary=DataSummary(
            means=_cells(measured.mean, dataset.image_shape),
            spreads=_cells(measured.spread, dataset.image_shape),
        ),
        components=describe_file(folder, COMPONENTS_FILE),
        component_count=count,
    )
    write_record(folder / BASELINES_FILE, baselines)
    return baselines


def _score_pca(dataset: DatasetRecord, components: int, root: Path) -> PcaScores:
    pca = load_pca(dataset, components, root)
    errors, similarities = [], []
    for block in image_blocks(open_images(dataset, "test", root)):
        originals = on_unit_scale(block, dataset.scale)
        restored = pca.restore(pca.project(block, dataset.scale), dataset.image_shape)
        errors.append(mean_squared_errors(originals, restored))
        similarities.append(structural_similarity(originals, restored))
    squared = np.concatenate(errors)
    return PcaScores(
        components=components,
        mse=float(squared.mean(dtype=np.float64)),
        psnr=peak_signal_to_noise(squared),
        ssim=float(np.concatenate(similarities).mean(dtype=np.float64)),
        probes=_probe(dataset, lambda images: pca.project(images, dataset.scale), root),
    )


def _flat(images: Images, scale: float) -> NDArray[np.float32]:
    return on_unit_scale(images, scale).reshape(len(images), -1)


def _probe(
    dataset: DatasetRecord, features_of: Callable[[Images], NDArray[np.float32]], root: Path
) -> Probes | None:
    """Probe features of a sample of the training and of the test images; none without labels."""
    sample = []
    for split in SPLITS:
        images, labels = open_images(dataset, split, root), open_labels(dataset, split, root)
        if labels is None:
            return None
        rows = probed_rows(dataset, split)
        features = np.empty((len(rows), features_of(images[:1]).shape[1]), np.float32)
        for part in np.array_split(np.arange(len(rows)), min(PARTS, len(rows))):
            features[part] = features_of(images[rows[part]])
        sample += [features, labels[rows]]
    return probe(*sample)


def _cells(values: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """Means over the cells of a coarse grid, (at most GRID) x (at most GRID), and over colours."""
    height, width = shape[:2]
    bands = np.array_split(values.reshape(shape), min(GRID, height), axis=0)
    return tuple(
        tuple(
            round(float(cell.mean()), 5) for cell in np.array_split(band, min(GRID, width), axis=1)
        )
        for band in bands
    )
