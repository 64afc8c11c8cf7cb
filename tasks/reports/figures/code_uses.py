"""What codes are for, seen: similar images, and images between images."""

import numpy as np

from tasks.codes.reader import CodesFile
from tasks.codes.search import search_nearest
from tasks.core.records import SPLITS, FigureRecord
from tasks.encoding.encoder import load_autoencoder
from tasks.evaluation.metrics import on_unit_scale
from tasks.images.rows import spaced_rows
from tasks.images.store import open_images
from tasks.models.store import ModelRecord
from tasks.reports.figures.image_rows import draw_nearest, draw_walks, lab_rows
from tasks.reports.figures.style import Array
from tasks.reports.figures.subject import MAP_POINTS, Subject, record_of

NEAREST = 3
"""Nearest images that are shown of each."""
CANDIDATE_BYTES = 64 * 2**20
"""Of the training images among which they are searched, as float32."""
WALK_STEPS = 10


def draw_nearest_images(subject: Subject, model: ModelRecord, train: CodesFile) -> FigureRecord:
    """Draw the nearest training images, by code and by pixels, among the same ones.

    Args:
        train: codes of the training images.
    """
    dataset, root = subject.dataset, subject.root
    train_images, test_images = (open_images(dataset, split, root) for split in SPLITS)
    fitting = max(NEAREST, CANDIDATE_BYTES // (4 * train_images[0].size))
    candidates = spaced_rows(len(train_images), min(MAP_POINTS, fitting))
    rows = lab_rows(len(test_images), "deep")
    queries = on_unit_scale(test_images[rows], dataset.scale)
    pixels = (
        images.reshape(len(images), -1).astype(np.float32)
        for images in (train_images[candidates], test_images[rows])
    )
    codes = train.read(model.name, candidates).codes, subject.reconstruct(model, rows).codes
    vectors = {f"{model.name} code": codes, "pixels": tuple(pixels)}
    nearest: dict[str, tuple[Array, Array]] = {}
    for measure, (stored, wanted) in vectors.items():
        found = candidates[search_nearest(stored, wanted, NEAREST).rows.T]  # (rank, n)
        classes = np.array([subject.name_classes("train", rank) for rank in found])
        nearest[measure] = (on_unit_scale(train_images[found], dataset.scale), classes)
    draw_nearest(
        model.name,
        queries,
        subject.name_classes("test", rows),
        nearest,
        subject.path("nearest.png"),
    )
    return record_of(
        "nearest.png",
        "Nearest training images",
        f"Ten test images, and the {NEAREST} nearest of {len(candidates):,} training images to "
        f"each: by the {model.name} code, then by pixels.",
    )


def draw_code_walks(subject: Subject, model: ModelRecord) -> FigureRecord:
    """Draw the images between pairs of the ten images of the comparison."""
    rows = lab_rows(subject.dataset.rows["test"], "deep")
    names = subject.name_classes("test", rows)
    ends = subject.reconstruct(model, rows)
    autoencoder = load_autoencoder(model, subject.root)
    shares = np.linspace(0, 1, WALK_STEPS, dtype=np.float32)[:, np.newaxis]
    walks = {}
    for number in range(0, len(rows), 2):
        start, end = ends.codes[number], ends.codes[number + 1]
        made = autoencoder.decode((1 - shares) * start + shares * end)
        label = f"{names[number]} to {names[number + 1]}" if names[number] else ""
        walks[f"{number // 2 + 1}. {label}"] = made.reshape(-1, *ends.originals.shape[1:])
    draw_walks(model.name, walks, subject.path("walks.png"))
    return record_of(
        "walks.png",
        "Walks through the code",
        f"What the {model.name} model makes of the codes on the straight line from the code of "
        f"one test image to that of another, in {WALK_STEPS} equal steps.",
    )
