"""Baselines of a dataset: computed once from its images, stored beside its arrays."""

import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.core import storage
from tasks.core.locks import lock
from tasks.core.records import SPLITS, DatasetRecord, Split
from tasks.evaluation import metrics
from tasks.evaluation.metrics import flat_pixels
from tasks.evaluation.pca import Pca, pixel_moments, principal_components, sample_features
from tasks.evaluation.probes import probe, probed_rows
from tasks.evaluation.records import Baselines, DataSummary, PcaScores, PixelBaselines, Probes
from tasks.images.rows import Images
from tasks.images.store import open_images, open_labels

logger = logging.getLogger(__name__)

BASELINES_FILE = "baselines.json"
COMPONENTS_FILE = "pca.npy"
LEAST_COMPONENTS = 64
"""Computed even if fewer are wanted, so that a larger code does not compute everything again."""
GRID = 8
"""Cells along each side of a data summary."""


def obtain_baselines(dataset: DatasetRecord, code_sizes: set[int], root: Path) -> Baselines:
    """Read the dataset's baselines; compute and store those that are missing.

    Args:
        code_sizes: the numbers of PCA components to score.
    """
    folder, most = root / dataset.folder, min(max(code_sizes, default=1), dataset.pixels)
    with lock(folder.name, root):
        storage.remove_partial_files(folder)
        pixels = _read_pixel_baselines(folder, most)
        if pixels is None:
            logger.info("Computing baselines (PCA, entropy floor, classifiers); once per dataset")
            pixels = _compute_pixel_baselines(dataset, most, root)
        scores = tuple(_obtain_pca_scores(dataset, size, root) for size in sorted(code_sizes))
    return Baselines(pixels=pixels, pca=scores)


def load_pca(dataset: DatasetRecord, components: int, root: Path) -> Pca:
    """The first components of the dataset's PCA, after `obtain_baselines`."""
    rows = np.load(root / dataset.folder / COMPONENTS_FILE, mmap_mode="r", allow_pickle=False)
    first = np.asarray(rows[: components + 1], np.float32)
    return Pca(first[0], first[1:])


def project_split(
    dataset: DatasetRecord, split: Split, components: int, root: Path
) -> NDArray[np.float32]:
    """PCA features of all images of a split, (N, components), after `obtain_baselines`."""
    pca, images = load_pca(dataset, components, root), open_images(dataset, split, root)
    rows = np.arange(len(images))
    return sample_features(images, rows, lambda part: pca.project(part, dataset.scale))


def _read_pixel_baselines(folder: Path, count: int) -> PixelBaselines | None:
    """The stored baselines, if they and at least `count` components are intact."""
    try:
        pixels = PixelBaselines.model_validate_json((folder / BASELINES_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    usable = pixels.component_count >= count and storage.is_intact(folder, pixels.components)
    return pixels if usable else None


def _compute_pixel_baselines(dataset: DatasetRecord, count: int, root: Path) -> PixelBaselines:
    train, folder = open_images(dataset, "train", root), root / dataset.folder
    count = min(dataset.pixels, max(count, LEAST_COMPONENTS))
    mean, spread = pixel_moments(train, dataset.scale)
    components = principal_components(train, dataset.scale, count)
    content = BytesIO()  # np.save to a full disk raises an error without a reason
    np.save(content, np.vstack([mean, components]), allow_pickle=False)
    storage.write_bytes(folder / COMPONENTS_FILE, content.getvalue())
    baselines = PixelBaselines(
        entropy_floor=metrics.entropy_floor(open_images(dataset, "test", root), dataset.scale),
        probes=_probe_images(dataset, lambda images: flat_pixels(images, dataset.scale), root),
        summary=DataSummary(
            means=_grid_means(mean, dataset.image_shape),
            spreads=_grid_means(spread, dataset.image_shape),
        ),
        components=storage.describe_file(folder, COMPONENTS_FILE),
        component_count=count,
    )
    storage.write_record(folder / BASELINES_FILE, baselines)
    return baselines


def _obtain_pca_scores(dataset: DatasetRecord, components: int, root: Path) -> PcaScores:
    path = root / dataset.folder / f"pca-{components}.json"
    return storage.load_or_compute(path, PcaScores, lambda: _score_pca(dataset, components, root))


def _score_pca(dataset: DatasetRecord, components: int, root: Path) -> PcaScores:
    pca = load_pca(dataset, components, root)
    errors, similarities = [], []
    for block in metrics.image_blocks(open_images(dataset, "test", root)):
        originals = metrics.on_unit_scale(block, dataset.scale)
        codes = pca.project(block, dataset.scale)
        reconstructions = pca.reconstruct(codes, dataset.image_shape)
        errors.append(metrics.mean_squared_errors(originals, reconstructions))
        similarities.append(metrics.structural_similarity(originals, reconstructions))
    squared = np.concatenate(errors)
    return PcaScores(
        components=components,
        mse=float(squared.mean(dtype=np.float64)),
        psnr=metrics.peak_signal_to_noise(squared),
        ssim=float(np.concatenate(similarities).mean(dtype=np.float64)),
        probes=_probe_images(dataset, lambda images: pca.project(images, dataset.scale), root),
    )


def _probe_images(
    dataset: DatasetRecord, features_of: Callable[[Images], NDArray[np.float32]], root: Path
) -> Probes | None:
    """Probe features of a sample of the training and of the test images; none without labels."""
    sample = []
    for split in SPLITS:
        images, labels = open_images(dataset, split, root), open_labels(dataset, split, root)
        if labels is None:
            return None
        rows = probed_rows(dataset, split)
        sample += [sample_features(images, rows, features_of), labels[rows]]
    return probe(*sample)


def _grid_means(values: NDArray[Any], shape: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """Means of (pixels,) values over the cells of a grid, at most GRID x GRID, and over colours."""
    height, width = (min(GRID, side) for side in shape[:2])
    bands = np.array_split(values.reshape(shape), height)
    return tuple(
        tuple(round(float(cell.mean()), 5) for cell in np.array_split(band, width, axis=1))
        for band in bands
    )
