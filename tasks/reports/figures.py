"""Which figures a run gets, and the arrays they show."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.codes.reader import Codes, read_codes
from tasks.core.records import DatasetRecord, FigureRecord, Metrics
from tasks.encoding.encoder import load_autoencoder, reconstruct_rows
from tasks.evaluation.baselines import load_pca
from tasks.evaluation.metrics import (
    activity,
    correlations,
    live_units,
    mean_squared_errors,
    on_unit_scale,
)
from tasks.evaluation.references import LAB_LOSSES
from tasks.images import fashion_mnist
from tasks.images.rows import Images, spaced_rows
from tasks.images.store import open_images
from tasks.models.store import ModelRecord, read_history
from tasks.reports.charts import Curve, draw_activity, draw_classes, draw_learning_curves
from tasks.reports.code_map import CLASS_COLORS, NAMED_CLASSES, draw_map
from tasks.reports.image_rows import draw_comparison, draw_extremes
from tasks.reports.style import ShownImages, draw_lab_figure

LAB_SEEDS = {"shallow": 50, "deep": 42}
"""Seeds with which the lab draws the images of its two figures."""
LAB_IMAGES = 10
MAP_POINTS = 10_000
"""Codes on a map; of more, some at equal distances."""
HARDEST_CLASSES = 40
"""Classes whose error is drawn, where there are more."""


def lab_rows(rows: int, model: str) -> NDArray[np.int64]:
    """The test images that the lab shows for a model: (10,) rows, drawn with repetition.

    The lab uses NumPy's legacy generator, whose stream is frozen.
    """
    generator = np.random.RandomState(LAB_SEEDS.get(model, 0))
    return generator.randint(rows, size=LAB_IMAGES)


class Illustrator:
    """Draws the figures of one run into its folder and remembers what they show."""

    def __init__(
        self,
        dataset: DatasetRecord,
        models: list[ModelRecord],
        metrics: dict[str, Metrics],
        folder: Path,
        root: Path,
    ) -> None:
        """Draw nothing yet.

        Args:
            folder: of the run; its codes are there.
        """
        self._dataset, self._models, self._metrics = dataset, models, metrics
        self._folder, self._root = folder, root
        self._images: Images = open_images(dataset, "test", root)
        self._figures: list[FigureRecord] = []

    def draw_all(self) -> list[FigureRecord]:
        """Draw every figure, in the order in which a report shows them."""
        self._draw_comparison()
        self._draw_learning_curves()
        self._draw_classes()
        for model in self._models:
            self._draw_extremes(model)
            codes = read_codes(self._folder / "codes" / "test.h5", model.name)
            self._draw_activity(model, codes)
            self._draw_map(model, codes)
            self._draw_lab_figure(model)
        return self._figures

    def _path(self, name: str, title: str, text: str) -> Path:
        """Where a figure is to be drawn; it is then one of the run's."""
        self._figures.append(FigureRecord(path=f"figures/{name}", title=title, text=text))
        return self._folder / "figures" / name

    def _shown(self, model: ModelRecord, rows: NDArray[np.int64]) -> ShownImages:
        chosen, scale = self._images[rows], self._dataset.scale
        made = reconstruct_rows(load_autoencoder(model, self._root), chosen, scale)
        return ShownImages(
            originals=on_unit_scale(chosen, scale),
            codes=made.codes,
            reconstructions=made.reconstructions.reshape(chosen.shape),
            errors=made.mean_squared_errors,
        )

    def _shown_by_pca(self, components: int, rows: NDArray[np.int64]) -> ShownImages:
        pca = load_pca(self._dataset, components, self._root)
        chosen, scale = self._images[rows], self._dataset.scale
        codes = pca.project(chosen, scale)
        originals, restored = on_unit_scale(chosen, scale), pca.restore(codes, chosen.shape[1:])
        errors = mean_squared_errors(originals, restored)
        return ShownImages(originals, codes, restored, errors)

    def _draw_comparison(self) -> None:
        rows = lab_rows(len(self._images), "deep")
        code_size = max(metrics.code_size for metrics in self._metrics.values())
        shown = {f"PCA-{code_size}": self._shown_by_pca(code_size, rows)}
        shown |= {model.name: self._shown(model, rows) for model in self._models}
        errors = ", ".join(f"{name} {images.errors.mean():.4f}" for name, images in shown.items())
        path = self._path(
            "comparison.png",
            "Test images and what each model restores",
            "Ten test images; below them what each method restores and where it errs: red where it "
            "is too bright, blue where too dark, all the same from 0.5 on. Mean squared errors of "
            f"these ten: {errors}.",
        )
        draw_comparison(next(iter(shown.values())).originals, shown, path)

    def _draw_learning_curves(self) -> None:
        curves = [_curve(model, self._dataset, self._root) for model in self._models]
        floor = next(iter(self._metrics.values())).entropy_floor
        ends = ", ".join(
            f"{curve.name} to {curve.validation[-1]:.4f} in {len(curve.validation)} epochs"
            for curve in curves
        )
        text = f"Validation losses fall: {ends}. The entropy floor is {floor:.4f}."
        path = self._path("learning-curves.png", "Learning curves", text)
        draw_learning_curves(curves, floor, [path, path.with_suffix(".svg")])

    def _draw_classes(self) -> None:
        first = next(iter(self._metrics.values())).classes
        if not first:
            return
        names = [self._dataset.class_name(found.label) for found in first]
        order = np.argsort([-found.mse for found in first], kind="stable")
        hardest, easiest = names[order[0]], names[order[-1]]
        drawn = order[:HARDEST_CLASSES]
        text = f"Mean squared error by class: largest for {hardest}, smallest for {easiest}."
        if len(drawn) < len(names):
            text += f" Drawn are the {len(drawn)} with the largest, of {len(names)}."
        path = self._path("classes.png", "Error by class", text)
        errors = {
            model: [metrics.classes[row].mse for row in drawn]
            for model, metrics in self._metrics.items()
        }
        draw_classes([names[row] for row in drawn], errors, [path, path.with_suffix(".svg")])

    def _draw_extremes(self, model: ModelRecord) -> None:
        metrics = self._metrics[model.name]
        worst, best = (self._shown(model, np.array(rows)) for rows in (metrics.worst, metrics.best))
        path = self._path(
            f"extremes-{model.name}.png",
            f"Worst and best of the {model.name} model",
            f"The test images that the {model.name} model restores worst (mean squared error up to "
            f"{worst.errors.max():.3f}) and best (down to {best.errors.min():.4f}).",
        )
        draw_extremes(model.name, worst, best, path)

    def _draw_activity(self, model: ModelRecord, codes: Codes) -> None:
        metrics = self._metrics[model.name]
        path = self._path(
            f"activity-{model.name}.png",
            f"Code units of the {model.name} model",
            f"{metrics.live_units} of {metrics.code_size} code units carry information; the mean "
            f"size of their correlations is {metrics.correlation:.2f}.",
        )
        values = codes.codes
        draw_activity(model.name, activity(values), live_units(values), correlations(values), path)

    def _draw_map(self, model: ModelRecord, codes: Codes) -> None:
        centred = codes.codes - codes.codes.mean(axis=0, dtype=np.float64)
        if centred.shape[1] < 2 or len(centred) < 2:
            return
        variances, axes = np.linalg.eigh(centred.T @ centred)
        axes = axes[:, ::-1][:, :2]
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
        total = max(variances.sum(), np.finfo(np.float64).tiny)  # zero where all codes are equal
        shares = variances[::-1][:2] / total
        names: list[str] = []
        labels = None
        shown = spaced_rows(len(centred), MAP_POINTS)
        if codes.labels is not None:
            present, labels = np.unique(codes.labels[shown], return_inverse=True)
            names = [self._dataset.class_name(label) for label in present.tolist()]
        path = self._path(
            f"map-{model.name}.png",
            f"Map of the {model.name} model's codes",
            f"The codes on the plane of their two directions of largest variance ({shares[0]:.0%} "
            f"and {shares[1]:.0%} of it){_describe_colors(len(names))}.",
        )
        draw_map(model.name, centred[shown] @ axes, shares, names, path, labels)

    def _draw_lab_figure(self, model: ModelRecord) -> None:
        rows = lab_rows(len(self._images), model.name)
        path = self._path(
            f"codes-{model.name}.png",
            f"Codes of the {model.name} model as tiles",
            "Three rows, as in the lab: ten test images, their codes as tiles on one scale, and "
            "what is restored.",
        )
        draw_lab_figure(self._shown(model, rows), path)


def _describe_colors(classes: int) -> str:
    """How a map shows the classes; nothing where there are none."""
    if classes == 0:
        return ""
    told = ", coloured by class"
    if classes > len(CLASS_COLORS):
        told += f"; colours repeat after {len(CLASS_COLORS)} classes"
    if classes > NAMED_CLASSES:
        told += f", and the first {NAMED_CLASSES} of {classes} are named"
    return told


def _curve(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Curve:
    epochs = read_history(model, root).epochs
    return Curve(
        name=model.name,
        training=[epoch.loss for epoch in epochs],
        validation=[epoch.validation_loss for epoch in epochs],
        reference=LAB_LOSSES.get(model.name) if dataset.name == fashion_mnist.NAME else None,
    )
