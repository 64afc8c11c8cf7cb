"""The figures of a run: which there are, what they show, and in which words."""

from pathlib import Path

import numpy as np

from tasks.codes.reader import Codes, CodesFile, open_codes
from tasks.core.records import DatasetRecord, FigureRecord, FileRecord, Split
from tasks.evaluation.probes import NEIGHBORS
from tasks.evaluation.records import Metrics
from tasks.evaluation.references import LAB_LOSSES
from tasks.images import fashion_mnist
from tasks.images.rows import spaced_rows
from tasks.models.store import ModelRecord, read_history
from tasks.reports.figures import charts, code_map
from tasks.reports.figures.class_neighbors import count_neighbors, draw_class_neighbors
from tasks.reports.figures.code_uses import draw_code_walks, draw_nearest_images
from tasks.reports.figures.fonts import DrawnNames
from tasks.reports.figures.image_rows import (
    draw_comparison,
    draw_extremes,
    draw_lab_figure,
    lab_rows,
)
from tasks.reports.figures.projection import project_codes
from tasks.reports.figures.subject import MAP_POINTS, Subject, record_of
from tasks.reports.metrics_table import describe_worth

SEARCHED_IMAGES = 2_000
"""Test images whose neighbours are counted, at most."""
HARDEST_CLASSES = 40
"""Classes in the chart of errors, at most: those with the largest errors."""


def draw_figures(
    dataset: DatasetRecord,
    models: list[ModelRecord],
    metrics: dict[str, Metrics],
    codes: dict[Split, FileRecord],
    folder: Path,
    root: Path,
) -> list[FigureRecord]:
    """Draw every figure of a run; return what they show, in the order of the report.

    Args:
        codes: the codes files of `train` and `test`, which were checked when they were written.
        folder: of the run, where its codes are.
    """
    subject = Subject(dataset, models, metrics, folder, root)
    main = next((model for model in models if model.name == "deep"), models[-1])
    figures = [_draw_comparison(subject), _draw_learning_curves(subject)]
    if all(found.classes for found in subject.metrics.values()):
        figures.append(_draw_classes(subject))
    files = {split: (subject.folder / file.path, file.sha256) for split, file in codes.items()}
    with open_codes(*files["train"]) as train, open_codes(*files["test"]) as test:
        figures += [draw_nearest_images(subject, main, train), draw_code_walks(subject, main)]
        for model in models:
            test_codes = test.read(model.name)
            figures.append(_draw_extremes(subject, model))
            figures.append(_draw_units(subject, model, test_codes))
            if min(test_codes.codes.shape) > 1:  # a plane needs two units and two images
                train_codes = _read_some(train, model)
                figures.append(_draw_map(subject, model, train_codes, test_codes))
                figures += _draw_class_neighbors(subject, model, train_codes, test_codes)
            figures.append(_draw_lab_figure(subject, model))
    return figures


def _read_some(file: CodesFile, model: ModelRecord) -> Codes:
    """A model's codes of all images, or of as many as a map shows, at equal distances."""
    return file.read(model.name, spaced_rows(len(file.hdf5["index"]), MAP_POINTS))


def _draw_comparison(subject: Subject) -> FigureRecord:
    rows = lab_rows(subject.dataset.rows["test"], "deep")
    code_size = max(metrics.code_size for metrics in subject.metrics.values())
    by_pca = subject.reconstruct_by_pca(code_size, rows)
    shown = {f"PCA-{code_size}": by_pca}
    shown |= {model.name: subject.reconstruct(model, rows) for model in subject.models}
    names = subject.name_classes("test", rows)
    draw_comparison(by_pca.originals, names, shown, subject.path("comparison.png"))
    errors = ", ".join(f"{name} {images.errors.mean():.4f}" for name, images in shown.items())
    return record_of(
        "comparison.png",
        "Test images and their reconstructions",
        "Ten test images; below them each method's reconstructions and errors: red where the "
        "reconstruction is too bright, blue where it is too dark; differences above 0.5 have the "
        f"colour of 0.5. Mean squared errors of these ten: {errors}.",
    )


def _draw_learning_curves(subject: Subject) -> FigureRecord:
    models = subject.models
    histories = {model.name: read_history(model, subject.root).epochs for model in models}
    references = LAB_LOSSES if subject.dataset.name == fashion_mnist.NAME else {}
    floor = next(iter(subject.metrics.values())).entropy_floor
    path = subject.path("learning-curves.png")
    charts.draw_learning_curves(histories, references, floor, [path, path.with_suffix(".svg")])
    ends = ", ".join(
        f"{name} {history[-1].validation_loss:.4f} after {len(history)} epochs"
        for name, history in histories.items()
    )
    text = f"Final validation losses: {ends}. The entropy floor is {floor:.4f}."
    return record_of(path.name, "Learning curves", text)


def _draw_classes(subject: Subject) -> FigureRecord:
    first = next(iter(subject.metrics.values())).classes
    names = [subject.dataset.class_name(found.label) for found in first]
    shown = subject.drawn_names([found.label for found in first])
    order = np.argsort([-found.mse for found in first], kind="stable")
    drawn = order[:HARDEST_CLASSES]
    errors = {
        model: [metrics.classes[row].mse for row in drawn]
        for model, metrics in subject.metrics.items()
    }
    path = subject.path("classes.png")
    charts.draw_classes(
        [shown.names[first[row].label] for row in drawn], errors, [path, path.with_suffix(".svg")]
    )
    text = (
        f"Mean squared error by class: largest for {names[order[0]]}, smallest for "
        f"{names[order[-1]]}."
    )
    if len(drawn) < len(names):
        text += f" Shows the {len(drawn)} classes with the largest errors, of {len(names)}."
    return record_of(path.name, "Error by class", text + shown.legend)


def _draw_extremes(subject: Subject, model: ModelRecord) -> FigureRecord:
    metrics, name = subject.metrics[model.name], f"extremes-{model.name}.png"
    worst = subject.reconstruct(model, np.array(metrics.worst))
    best = subject.reconstruct(model, np.array(metrics.best))
    extremes = {
        "worst": (worst, _headings(subject, metrics.worst)),
        "best": (best, _headings(subject, metrics.best)),
    }
    draw_extremes(model.name, extremes, subject.path(name))
    return record_of(
        name,
        f"Worst and best reconstructions of the {model.name} model",
        f"The test images with the largest errors of the {model.name} model (mean squared error up "
        f"to {worst.errors.max():.3f}) and with the smallest (down to {best.errors.min():.4f}). "
        "Above each its class and its row among the test images.",
    )


def _headings(subject: Subject, rows: tuple[int, ...]) -> list[str]:
    """Class and row of test images, so that one can look them up."""
    names = subject.name_classes("test", np.array(rows))
    return [f"{name}\nrow {row}" for name, row in zip(names, rows, strict=True)]


def _draw_units(subject: Subject, model: ModelRecord, codes: Codes) -> FigureRecord:
    metrics, name = subject.metrics[model.name], f"activity-{model.name}.png"
    worth = f"{describe_worth(metrics)}, mean correlation {metrics.correlation:.2f}"
    charts.draw_units(model.name, codes.codes, worth, subject.path(name))
    spreads = codes.codes.std(axis=0, dtype=np.float64)
    return record_of(
        name,
        f"Code units of the {model.name} model",
        f"{metrics.live_units} of {metrics.code_size} code units carry information. Their values, "
        f"their standard deviations (from {spreads.min():.2f} to {spreads.max():.2f}) beside those "
        f"along the principal axes, and their correlations, on average {metrics.correlation:.2f}; "
        f"the effective dimension is {metrics.effective_dimension:.1f}.",
    )


def _draw_map(subject: Subject, model: ModelRecord, train: Codes, test: Codes) -> FigureRecord:
    name, shown = f"map-{model.name}.png", DrawnNames({}, "")
    rows = spaced_rows(len(test.codes), MAP_POINTS)
    labels = None if test.labels is None else test.labels[rows]
    if labels is not None:
        shown = subject.drawn_names(np.unique(labels).tolist())
    path, worth = subject.path(name), describe_worth(subject.metrics[model.name])
    plane = project_codes(train.codes, train.labels, test.codes[rows])
    code_map.draw_map(model.name, plane, labels, shown.names, worth, path)
    colors = " Coloured by class; the large markers are class medians." if shown.names else ""
    return record_of(
        name,
        f"Map of the {model.name} model's codes",
        f"{plane.text}.{colors} In all {test.codes.shape[1]} directions: {worth}.{shown.legend}",
    )


def _draw_class_neighbors(
    subject: Subject, model: ModelRecord, train: Codes, test: Codes
) -> list[FigureRecord]:
    """None without labels or with a single class."""
    rows, name = spaced_rows(len(test.codes), SEARCHED_IMAGES), f"neighbors-{model.name}.png"
    if train.labels is None or test.labels is None or np.ptp(train.labels) == 0:
        return []
    neighbors = count_neighbors(train.codes, train.labels, test.codes[rows], test.labels[rows])
    names = {label: subject.dataset.class_name(label) for label in neighbors.labels}
    shown = subject.drawn_names(neighbors.labels.tolist())
    draw_class_neighbors(model.name, neighbors, shown.names, subject.path(name))
    hardest = neighbors.hardest[0]
    shares = neighbors.shares[hardest]
    other = np.argmax(np.where(np.arange(len(shares)) == hardest, -1, shares))
    return [
        record_of(
            name,
            f"Classes of neighbours in the {model.name} model's codes",
            f"The classes of the {NEIGHBORS} nearest of {len(train.codes):,} training images, by "
            f"the class of {len(rows):,} test images. Fewest of its own has "
            f"{names[neighbors.labels[hardest]]}: {shares[hardest]:.0%}; {shares[other]:.0%} of "
            f"its neighbours are {names[neighbors.labels[other]]}.{shown.legend}",
        )
    ]


def _draw_lab_figure(subject: Subject, model: ModelRecord) -> FigureRecord:
    name, rows = f"codes-{model.name}.png", lab_rows(subject.dataset.rows["test"], model.name)
    draw_lab_figure(model.name, subject.reconstruct(model, rows), subject.path(name))
    return record_of(
        name,
        f"Codes of the {model.name} model as tiles",
        "Three rows, as in the reference notebook: ten test images, their codes as tiles on one "
        "scale, and their reconstructions.",
    )
