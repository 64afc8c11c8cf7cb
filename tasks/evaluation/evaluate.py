"""How good a trained model is: its files and the images in, metrics out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.codes.reader import Codes, read_codes
from tasks.core.records import SPLITS, ClassMetrics, DatasetRecord, Metrics, Probes, Split
from tasks.encoding.encoder import load_autoencoder
from tasks.evaluation.baselines import Baselines
from tasks.evaluation.metrics import (
    activity,
    effective_dimension,
    entropy_floors,
    live_units,
    mean_correlation,
    on_unit_scale,
    peak_signal_to_noise,
    structural_similarity,
)
from tasks.evaluation.probes import probe, probed_rows
from tasks.images.store import open_images
from tasks.models.store import ModelRecord

SHOWN_EXTREMES = 10
"""Images restored worst, and best, that a run remembers."""


class ImageScores(NamedTuple):
    """How well each image is restored."""

    losses: NDArray[np.float32]
    """(N,) binary cross-entropy per pixel, in nats."""
    floors: NDArray[np.float64]
    """(N,) the least that loss can be."""
    errors: NDArray[np.float32]
    """(N,) mean squared error, on the 0..1 scale."""
    similarities: NDArray[np.float32]
    """(N,) structural similarity."""


def score_images(
    model: ModelRecord, dataset: DatasetRecord, root: Path, split: Split = "test"
) -> ImageScores:
    """Restore every image of a split, block by block, and compare."""
    images = open_images(dataset, split, root)
    blocks, start = [], 0
    for block in load_autoencoder(model, root).reconstruct(images, dataset.scale):
        raw = images[start : start + len(block.codes)]
        restored = block.reconstructions.reshape(raw.shape)
        scores = ImageScores(
            losses=block.losses,
            floors=entropy_floors(raw, dataset.scale),
            errors=block.mean_squared_errors,
            similarities=structural_similarity(on_unit_scale(raw, dataset.scale), restored),
        )
        blocks.append(scores)
        start += len(raw)
    return ImageScores(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def measure_model(
    model: ModelRecord,
    dataset: DatasetRecord,
    baselines: Baselines,
    codes_folder: Path,
    root: Path,
) -> Metrics:
    """Measure a model on the test images and on the codes it wrote."""
    scores = score_images(model, dataset, root)
    test = read_codes(codes_folder / "test.h5", model.name)
    order = np.argsort(scores.errors, kind="stable")
    return Metrics(
        validation_loss=model.validation_loss,
        entropy_floor=baselines.pixels.entropy_floor,
        reconstruction_mse=float(scores.errors.mean(dtype=np.float64)),
        pca_mse=baselines.pca_of(test.codes.shape[1]).mse,
        psnr=peak_signal_to_noise(scores.errors),
        ssim=float(scores.similarities.mean(dtype=np.float64)),
        code_size=test.codes.shape[1],
        live_units=int(live_units(test.codes).sum()),
        activity=float(activity(test.codes).mean()),
        correlation=mean_correlation(test.codes),
        effective_dimension=effective_dimension(test.codes),
        probes=_probe_codes(model.name, dataset, codes_folder),
        classes=_by_class(test, scores),
        worst=tuple(order[::-1][:SHOWN_EXTREMES].tolist()),
        best=tuple(order[:SHOWN_EXTREMES].tolist()),
    )


def _probe_codes(model: str, dataset: DatasetRecord, codes_folder: Path) -> Probes | None:
    train, test = (
        read_codes(codes_folder / f"{split}.h5", model, probed_rows(dataset, split))
        for split in SPLITS
    )
    if train.labels is None or test.labels is None:
        return None
    return probe(train.codes, train.labels, test.codes, test.labels)


def _by_class(codes: Codes, scores: ImageScores) -> tuple[ClassMetrics, ...]:
    if codes.labels is None:
        return ()
    found = []
    for label in np.unique(codes.labels).tolist():
        rows = codes.labels == label
        found.append(
            ClassMetrics(
                label=label,
                images=int(rows.sum()),
                loss=float(scores.losses[rows].mean(dtype=np.float64)),
                floor=float(scores.floors[rows].mean()),
                mse=float(scores.errors[rows].mean(dtype=np.float64)),
            )
        )
    return tuple(found)
