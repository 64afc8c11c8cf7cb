"""How well an anchored model keeps its basis: new codes beside old ones, those of its anchor."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.codes.reader import CodesFile
from tasks.codes.search import search_nearest
from tasks.core.records import DatasetRecord, Split
from tasks.evaluation.probes import probe, probed_rows
from tasks.evaluation.records import BasisMetrics
from tasks.images.store import open_images
from tasks.models.spec import Anchor
from tasks.models.store import ANCHOR_FILE, ModelRecord


def measure_kept_basis(
    model: ModelRecord, dataset: DatasetRecord, codes: Mapping[Split, CodesFile], root: Path
) -> BasisMetrics | None:
    """Compare the codes of a model with those that its anchor gives the same images.

    Args:
        codes: the open codes files of `train` and `test`, with the model's codes.

    Returns:
        None for a model without an anchor.
    """
    anchor = model.spec.anchor
    if anchor is None:
        return None
    rows = probed_rows(dataset, "test")
    new = codes["test"].read(model.name, rows)
    file = root / model.folder / ANCHOR_FILE
    old = _encode_rows(anchor, file, dataset, "test", root)
    distances = np.linalg.norm(new.codes - old, axis=1)  # (images,)
    probes = None
    train_labels = codes["train"].read(model.name, probed_rows(dataset, "train")).labels
    if train_labels is not None and new.labels is not None:
        old_train = _encode_rows(anchor, file, dataset, "train", root)
        probes = probe(old_train, train_labels, new.codes, new.labels)
    return BasisMetrics(
        own_nearest=share_of_own_nearest(new.codes, old),
        mean_distance=float(distances.mean(dtype=np.float64)),
        probes=probes,
    )


def share_of_own_nearest(new: NDArray[np.float32], old: NDArray[np.float32]) -> float:
    """Share of images whose old code is the nearest of all old codes to their own new code.

    An image that has the same old code as another counts.

    Args:
        new, old: (images, code_size), of the same images in the same order.
    """
    nearest = search_nearest(old, new, 1).rows[:, 0]  # (images,)
    to_own, to_nearest = (np.linalg.norm(new - found, axis=1) for found in (old, old[nearest]))
    return float((to_own <= to_nearest).mean())


def _encode_rows(
    anchor: Anchor, file: Path, dataset: DatasetRecord, split: Split, root: Path
) -> NDArray[np.float32]:
    """The anchor's codes of the images that the probes use, (images, code_size)."""
    from tasks.models.anchoring import encode_with_anchor, load_anchor

    images = open_images(dataset, split, root)
    encoder = load_anchor(anchor, file, images)
    return np.concatenate(
        list(encode_with_anchor(encoder, anchor.scale, images, probed_rows(dataset, split)))
    )
