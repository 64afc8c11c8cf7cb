"""Which figures a run gets, and the arrays they show."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.dataset import FASHION_MNIST, open_images
from tasks.encoding import Encoder, encode_rows, load_encoder
from tasks.evaluation import LAB_LOSSES, entropy_floor
from tasks.figures import (
    Curve,
    ShownImages,
    draw_comparison,
    draw_lab_figure,
    draw_learning_curves,
)
from tasks.models import ModelRecord, read_history
from tasks.records import DatasetRecord

LAB_SEEDS = {"shallow": 50, "deep": 42}
"""Seeds with which the lab draws the images of its two figures."""
LAB_IMAGES = 10


def lab_rows(rows: int, model: str) -> NDArray[np.int64]:
    """The test images that the lab shows for a model: (10,) rows, drawn with repetition.

    The lab uses NumPy's legacy generator, whose stream is frozen.
    """
    generator = np.random.RandomState(LAB_SEEDS.get(model, 0))
    return generator.randint(rows, size=LAB_IMAGES)


def draw_figures(
    dataset: DatasetRecord, models: list[ModelRecord], folder: Path, root: Path
) -> None:
    """Draw every figure of a run into a folder."""
    images = open_images(dataset, "test", root)
    encoders = {model.name: load_encoder(model, root) for model in models}

    def shown(name: str, rows: NDArray[np.int64]) -> ShownImages:
        return _encode_shown(encoders[name], images, rows, dataset.scale)

    for model in models:
        rows = lab_rows(len(images), model.name)
        draw_lab_figure(shown(model.name, rows), folder / f"{model.name}.png")
    rows = lab_rows(len(images), "deep")
    draw_comparison(
        {model.name: shown(model.name, rows) for model in models}, folder / "comparison.png"
    )
    draw_learning_curves(
        [_curve(model, dataset, root) for model in models],
        entropy_floor(images, dataset.scale),
        folder / "learning-curves.png",
    )


def _encode_shown(
    encode: Encoder, images: NDArray[np.uint8], rows: NDArray[np.int64], scale: float
) -> ShownImages:
    chosen = images[rows]
    encoded = encode_rows(encode, chosen, scale)
    return ShownImages(
        originals=chosen.astype(np.float32) / scale,
        codes=encoded.codes,
        reconstructions=encoded.reconstructions.reshape(chosen.shape),
        losses=encoded.losses,
    )


def _curve(model: ModelRecord, dataset: DatasetRecord, root: Path) -> Curve:
    epochs = read_history(model, root).epochs
    return Curve(
        name=model.name,
        training=[epoch.loss for epoch in epochs],
        validation=[epoch.validation_loss for epoch in epochs],
        reference=LAB_LOSSES.get(model.name) if dataset.name == FASHION_MNIST else None,
    )
