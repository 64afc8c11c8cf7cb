"""Evaluation of a trained model: its files and the images in, metrics out."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.codes.reader import Codes, CodesFile
from tasks.codes.units import activity, live_units
from tasks.core.records import DatasetRecord, Split
from tasks.encoding.encoder import load_autoencoder
from tasks.evaluation import metrics
from tasks.evaluation.kept_basis import measure_kept_basis
from tasks.evaluation.probes import probe, probed_rows
from tasks.evaluation.records import Baselines, ClassMetrics, Metrics, Probes
from tasks.images.store import open_images
from tasks.models.store import ModelRecord

EXTREMES = 10
"""Images with the largest and with the smallest errors that the metrics name."""


class ImageScores(NamedTuple):
    """Reconstruction quality of each image."""

    losses: NDArray[np.float32]
    """(N,) binary cross-entropy per pixel, nats."""
    floors: NDArray[np.float64]
    """(N,) lowest possible loss, nats per pixel."""
    errors: NDArray[np.float32]
    """(N,) mean squared error, 0 to 1 scale."""
    similarities: NDArray[np.float32]
    """(N,) structural similarity."""


def evaluate_images(
    model: ModelRecord, dataset: DatasetRecord, root: Path, split: Split = "test"
) -> ImageScores:
    """Reconstruct every image of a split, block by block, and compare."""
    images = open_images(dataset, split, root)
    blocks, start = [], 0
    for block in load_autoencoder(model, root).reconstruct(images, dataset.scale):
        originals = images[start : start + len(block.codes)]
        scores = ImageScores(
            losses=block.losses,
            floors=metrics.entropy_floors(originals, dataset.scale),
            errors=block.mean_squared_errors,
            similarities=metrics.structural_similarity(
                metrics.on_unit_scale(originals, dataset.scale),
                block.reconstructions.reshape(originals.shape),
            ),
        )
        blocks.append(scores)
        start += len(originals)
    return ImageScores(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def evaluate_model(
    model: ModelRecord,
    dataset: DatasetRecord,
    baselines: Baselines,
    codes: Mapping[Split, CodesFile],
    root: Path,
) -> Metrics:
    """Evaluate a model's reconstructions of the test images and its codes.

    Args:
        codes: the open codes files of `train` and `test`.
    """
    scores = evaluate_images(model, dataset, root)
    test = codes["test"].read(model.name)
    code_size = test.codes.shape[1]
    order = np.argsort(scores.errors, kind="stable")
    return Metrics(
        validation_loss=model.validation_loss,
        entropy_floor=baselines.pixels.entropy_floor,
        reconstruction_mse=float(scores.errors.mean(dtype=np.float64)),
        pca_mse=baselines.pca_of(code_size).mse,
        psnr=metrics.peak_signal_to_noise(scores.errors),
        ssim=float(scores.similarities.mean(dtype=np.float64)),
        code_size=code_size,
        live_units=int(live_units(test.codes).sum()),
        activity=float(activity(test.codes).mean()),
        correlation=metrics.mean_correlation(test.codes),
        effective_dimension=metrics.effective_dimension(test.codes),
        probes=_probe_codes(model.name, dataset, codes["train"], test),
        kept_basis=measure_kept_basis(model, dataset, codes, root),
        classes=_evaluate_classes(test.labels, scores),
        worst=tuple(order[::-1][:EXTREMES].tolist()),
        best=tuple(order[:EXTREMES].tolist()),
    )


def _probe_codes(
    model: str, dataset: DatasetRecord, train_file: CodesFile, test: Codes
) -> Probes | None:
    train = train_file.read(model, probed_rows(dataset, "train"))
    rows = probed_rows(dataset, "test")
    if train.labels is None or test.labels is None:
        return None
    return probe(train.codes, train.labels, test.codes[rows], test.labels[rows])


def _evaluate_classes(
    labels: NDArray[np.int64] | None, scores: ImageScores
) -> tuple[ClassMetrics, ...]:
    if labels is None:
        return ()
    selections = {label: labels == label for label in np.unique(labels).tolist()}
    return tuple(
        ClassMetrics(
            label=label,
            images=int(rows.sum()),
            loss=float(scores.losses[rows].mean(dtype=np.float64)),
            floor=float(scores.floors[rows].mean()),
            mse=float(scores.errors[rows].mean(dtype=np.float64)),
        )
        for label, rows in selections.items()
    )
