"""The run whose figures are drawn: its images, and what its models make of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.records import DatasetRecord, FigureRecord, Split
from tasks.encoding.encoder import load_autoencoder, reconstruct_rows
from tasks.evaluation.baselines import load_pca
from tasks.evaluation.metrics import mean_squared_errors, on_unit_scale
from tasks.evaluation.records import Metrics
from tasks.images.store import open_images, open_labels
from tasks.models.store import ModelRecord
from tasks.reports.figures.fonts import DrawnNames, drawn_names
from tasks.reports.figures.style import ShownImages, plain

MAP_POINTS = 10_000
"""Codes on a map, at most, and training codes that choose its axes: of more, some at equal
distances."""
HEADING = 12
"""Letters of a class's name above an image."""


class Subject(NamedTuple):
    """The run whose figures are drawn."""

    dataset: DatasetRecord
    models: list[ModelRecord]
    metrics: dict[str, Metrics]
    folder: Path
    """Of the run; has its codes, gets its figures."""
    root: Path

    def path(self, name: str) -> Path:
        """Where a figure is drawn."""
        return self.folder / "figures" / name

    def name_classes(self, split: Split, rows: NDArray[np.int64]) -> list[str]:
        """The class of each image, short enough to stand above it; empty without labels."""
        labels = open_labels(self.dataset, split, self.root)
        if labels is None:
            return ["" for _ in rows]
        chosen = labels[rows].tolist()
        names = self.drawn_names(sorted(set(chosen))).names
        return [plain(names[label], HEADING) for label in chosen]

    def drawn_names(self, labels: list[int]) -> DrawnNames:
        """The names of classes as figures can show them."""
        return drawn_names({label: self.dataset.class_name(label) for label in labels})

    def reconstruct(self, model: ModelRecord, rows: NDArray[np.int64]) -> ShownImages:
        """Test images and what a model makes of them."""
        images, scale = open_images(self.dataset, "test", self.root)[rows], self.dataset.scale
        made = reconstruct_rows(load_autoencoder(model, self.root), images, scale)
        reconstructions = made.reconstructions.reshape(images.shape)
        originals = on_unit_scale(images, scale)
        return ShownImages(originals, made.codes, reconstructions, made.mean_squared_errors)

    def reconstruct_by_pca(self, components: int, rows: NDArray[np.int64]) -> ShownImages:
        """Test images and what a PCA makes of them."""
        images, scale = open_images(self.dataset, "test", self.root)[rows], self.dataset.scale
        pca = load_pca(self.dataset, components, self.root)
        codes, originals = pca.project(images, scale), on_unit_scale(images, scale)
        reconstructions = pca.reconstruct(codes, images.shape[1:])
        errors = mean_squared_errors(originals, reconstructions)
        return ShownImages(originals, codes, reconstructions, errors)


def record_of(name: str, title: str, text: str) -> FigureRecord:
    """What a figure shows; its file is in the folder of figures."""
    return FigureRecord(path=f"figures/{name}", title=title, text=text)
