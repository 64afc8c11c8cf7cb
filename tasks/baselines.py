"""What depends on the images alone: computed once for each dataset, stored beside its arrays."""

import logging
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tasks.architectures import MAX_CODE_SIZE
from tasks.dataset import open_images, open_labels
from tasks.evaluation import (
    Images,
    entropy_floor,
    float_blocks,
    peak_signal_to_noise,
    pixel_moments,
    principal_components,
    structural_similarity,
)
from tasks.probes import probe
from tasks.records import SPLITS, DatasetRecord, DataSummary, FileRecord, Probes, Record
from tasks.storage import atomic_file, describe_file, is_file, lock, sweep_partial, write_record

logger = logging.getLogger(__name__)

BASELINES_FILE = "baselines.json"
COMPONENTS_FILE = "pca.npy"
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


class Pca(NamedTuple):
    """A PCA of the training images."""

    mean: NDArray[np.float32]
    """(pixels,)."""
    components: NDArray[np.float32]
    """(count, pixels), orthonormal, of largest variance first."""

    def project(self, images: Images, scale: float) -> NDArray[np.float32]:
        """Codes of images, (N, count)."""
        blocks = [(block - self.mean) @ self.components.T for block in float_blocks(images, scale)]
        return np.concatenate(blocks).astype(np.float32)

    def restore(self, codes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Images from codes, (N, *shape), about 0..1: nothing is clipped."""
        restored: NDArray[np.float32] = codes @ self.components + self.mean
        return restored.reshape(len(codes), *shape)


def obtain_baselines(dataset: DatasetRecord, code_sizes: set[int], root: Path) -> Baselines:
    """Read the dataset's baselines; compute and store what is not there yet."""
    folder = root / dataset.folder
    with lock(folder.name, root):
        sweep_partial(folder)
        pixels = _stored(folder / BASELINES_FILE, PixelBaselines)
        if pixels is None or not is_file(folder, pixels.components):
            logger.info("Measuring the images of %s; done once", folder.name)
            pixels = _measure_pixels(dataset, root)
        return Baselines(
            pixels=pixels,
            pca=tuple(_obtain_pca_scores(dataset, size, root) for size in sorted(code_sizes)),
        )


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


def _measure_pixels(dataset: DatasetRecord, root: Path) -> PixelBaselines:
    train, test = (open_images(dataset, split, root) for split in SPLITS)
    moments = pixel_moments(train, dataset.scale)
    components = principal_components(moments, min(dataset.pixels, MAX_CODE_SIZE))
    folder = root / dataset.folder
    with atomic_file(folder / COMPONENTS_FILE) as partial:
        np.save(partial, np.vstack([moments.mean, components]), allow_pickle=False)
    baselines = PixelBaselines(
        entropy_floor=entropy_floor(test, dataset.scale),
        probes=_probe(dataset, [_flat(images, dataset.scale) for images in (train, test)], root),
        summary=DataSummary(
            means=_cells(moments.mean, dataset.image_shape),
            spreads=_cells(np.sqrt(np.diag(moments.covariance)), dataset.image_shape),
        ),
        components=describe_file(folder, COMPONENTS_FILE),
    )
    write_record(folder / BASELINES_FILE, baselines)
    return baselines


def _score_pca(dataset: DatasetRecord, components: int, root: Path) -> PcaScores:
    pca = load_pca(dataset, components, root)
    train, test = (open_images(dataset, split, root) for split in SPLITS)
    codes = [pca.project(images, dataset.scale) for images in (train, test)]
    originals = _flat(test, dataset.scale).reshape(test.shape)
    restored = pca.restore(codes[1], dataset.image_shape)
    errors = ((restored - originals) ** 2).mean(axis=(1, 2))
    return PcaScores(
        components=components,
        mse=float(errors.mean(dtype=np.float64)),
        psnr=peak_signal_to_noise(errors),
        ssim=float(structural_similarity(originals, restored).mean(dtype=np.float64)),
        probes=_probe(dataset, codes, root),
    )


def _flat(images: Images, scale: float) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(scale)


def _probe(dataset: DatasetRecord, features: list[NDArray[np.float32]], root: Path) -> Probes:
    """Probe features of the training and the test images."""
    train_labels, test_labels = (np.asarray(open_labels(dataset, split, root)) for split in SPLITS)
    return probe(features[0], train_labels, features[1], test_labels)


def _cells(values: NDArray[np.float64], shape: tuple[int, int]) -> tuple[tuple[float, ...], ...]:
    """Means over the cells of a coarse grid, (at most GRID) x (at most GRID)."""
    height, width = shape
    bands = np.array_split(values.reshape(shape), min(GRID, height), axis=0)
    return tuple(
        tuple(
            round(float(cell.mean()), 5) for cell in np.array_split(band, min(GRID, width), axis=1)
        )
        for band in bands
    )
