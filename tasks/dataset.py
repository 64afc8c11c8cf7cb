"""Datasets in the artifacts folder: fetched, verified, ready to be memory-mapped."""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.errors import StepError, TransientError
from tasks.idx import idx_sha256
from tasks.parameters import DataParameters
from tasks.records import DatasetRecord, Sha256, Split
from tasks.sources import (
    IDX_FILES,
    RawDataset,
    Source,
    fashion_mnist_sources,
    folder_source,
)
from tasks.storage import atomic_folder, lock, write_record

logger = logging.getLogger(__name__)

FASHION_MNIST = "fashion-mnist"
FASHION_MNIST_PAYLOADS: dict[str, Sha256] = {
    "train_images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train_labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "test_images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "test_labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the four decompressed IDX files as Zalando published them."""
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
DATA_ROOT_VARIABLE = "AUTOENCODER_DATA_ROOT"
RECORD_FILE = "dataset.json"
ARRAY_FILES = {
    "train_images": "train.npy",
    "train_labels": "train_labels.npy",
    "test_images": "test.npy",
    "test_labels": "test_labels.npy",
}


def fetch_dataset(parameters: DataParameters, root: Path) -> DatasetRecord:
    """Get the dataset, and call its classes as the parameters say.

    Raises:
        StepError: the folder's files are not what they should be.
        TransientError: every source failed; the message has each reason.
    """
    record = _fetch(parameters, root)
    known = FASHION_MNIST_CLASSES if parameters.dataset == FASHION_MNIST else ()
    return record.model_copy(update={"class_names": parameters.class_names or known})


def _fetch(parameters: DataParameters, root: Path) -> DatasetRecord:
    """Get the dataset into `datasets/<name>-<sha12>/`, from the first source that serves.

    A verified copy that is already there is used. Sources that fail are logged with their reason.
    """
    expected = FASHION_MNIST_PAYLOADS if parameters.dataset == FASHION_MNIST else None
    if expected and not parameters.folder:  # a folder that is named is looked into
        stored = _stored_copy(parameters.dataset, expected, root)
        if stored:
            return stored
    reasons = []
    for source in _sources(parameters):
        try:
            raw = source.read()
            payloads = verify(raw, expected)
        except Exception as error:  # whatever goes wrong with one source, the next may serve
            reasons.append(f"{source.name}: {error}")
            logger.warning("Source %s does not serve: %s", source.name, error)
        else:
            return _store(parameters.dataset, source.name, raw, payloads, root)
    kind = StepError if parameters.folder else TransientError  # downloads may serve later
    raise kind(
        f"No source serves the dataset {parameters.dataset}. " + "; ".join(reasons) + ". "
        f"Place {', '.join(IDX_FILES.values())} in a folder and name it with --folder"
    )


def _sources(parameters: DataParameters) -> list[Source]:
    if parameters.folder is not None:
        return [folder_source(_allowed_folder(parameters.folder))]
    if parameters.dataset == FASHION_MNIST:
        return fashion_mnist_sources()
    raise StepError(f"The dataset {parameters.dataset} needs a folder: name it with --folder")


def _allowed_folder(name: str) -> Path:
    """Resolve a folder that a run names; where a data root is set it must lie beneath it."""
    folder = Path(name).expanduser().resolve()
    data_root = os.environ.get(DATA_ROOT_VARIABLE)
    if data_root and not folder.is_relative_to(Path(data_root).resolve()):
        raise StepError(f"The folder {name} is outside {data_root}, the only place data may be in")
    return folder


def verify(raw: RawDataset, expected: dict[str, Sha256] | None) -> dict[str, Sha256]:
    """Check that the four arrays fit together, and are the expected ones; return their SHA-256.

    Raises:
        StepError: what was found and what was expected.
    """
    for split, images, labels in (
        ("training", raw.train_images, raw.train_labels),
        ("test", raw.test_images, raw.test_labels),
    ):
        if len(images) != len(labels):
            raise StepError(
                f"{len(images)} {split} images have {len(labels)} labels: expected one each"
            )
    if raw.train_images.shape[1:] != raw.test_images.shape[1:]:
        raise StepError(
            f"Training images have shape {raw.train_images.shape[1:]}, "
            f"test images {raw.test_images.shape[1:]}: expected the same"
        )
    if (raw.train_images == raw.train_images[0]).all():
        raise StepError("All training images are the same: there is nothing to learn")
    payloads = {part: idx_sha256(array) for part, array in raw._asdict().items()}
    if expected:
        _compare(payloads, expected)
    return payloads


def _compare(payloads: dict[str, Sha256], expected: dict[str, Sha256]) -> None:
    parts = {sha256: part for part, sha256 in expected.items()}
    for part, sha256 in payloads.items():
        if sha256 != expected[part]:
            found = f"the {parts[sha256]}" if sha256 in parts else f"SHA-256 {sha256[:12]}..."
            raise StepError(
                f"{IDX_FILES[part]} holds {found}, expected SHA-256 {expected[part][:12]}..., "
                "the published file: fetch it again, or give your own images another dataset name"
            )


def _payload_sha256(payloads: dict[str, Sha256]) -> Sha256:
    """One SHA-256 for images and labels together: that of their digests, in fixed order."""
    return hashlib.sha256("".join(payloads[part] for part in IDX_FILES).encode()).hexdigest()


def _folder(name: str, payloads: dict[str, Sha256]) -> str:
    return f"datasets/{name}-{_payload_sha256(payloads)[:12]}"


def _stored_copy(name: str, payloads: dict[str, Sha256], root: Path) -> DatasetRecord | None:
    """The copy in the artifacts folder, if it is there and its contents have these digests."""
    folder = root / _folder(name, payloads)
    if not folder.exists():
        return None
    try:
        record = DatasetRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
        stored = RawDataset(
            **{part: _open_array(folder / name) for part, name in ARRAY_FILES.items()}
        )
        _compare({part: idx_sha256(array) for part, array in stored._asdict().items()}, payloads)
    except (OSError, ValueError, ValidationError, StepError) as error:
        logger.warning("The copy in %s is damaged and fetched anew: %s", folder.name, error)
        return None
    return record


def _store(
    name: str, source: str, raw: RawDataset, payloads: dict[str, Sha256], root: Path
) -> DatasetRecord:
    """Write the arrays where they can be memory-mapped, unless a verified copy is there."""
    record = DatasetRecord(
        name=name,
        folder=_folder(name, payloads),
        source=source,
        payload_sha256=_payload_sha256(payloads),
        payloads=payloads,
        image_shape=raw.train_images.shape[1:],
        train_rows=len(raw.train_images),
        test_rows=len(raw.test_images),
        scale=float(raw.train_images.max()),
    )
    target = root / record.folder
    with lock(target.name, root):
        if stored := _stored_copy(name, payloads, root):
            return stored
        with atomic_folder(target) as partial:
            for part, array in raw._asdict().items():
                np.save(partial / ARRAY_FILES[part], array, allow_pickle=False)
            write_record(partial / RECORD_FILE, record)
    return record


def _open_array(path: Path) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def open_images(record: DatasetRecord, split: Split, root: Path) -> NDArray[np.uint8]:
    """Images of a split, memory-mapped: (N, height, width) uint8."""
    return _open_array(root / record.folder / ARRAY_FILES[f"{split}_images"])


def open_labels(record: DatasetRecord, split: Split, root: Path) -> NDArray[np.uint8]:
    """Classes of a split, memory-mapped: (N,) uint8."""
    return _open_array(root / record.folder / ARRAY_FILES[f"{split}_labels"])
