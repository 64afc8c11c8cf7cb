"""Datasets as the artifacts folder has them: written block by block, opened as memory maps."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.core.errors import StepError, TransientError
from tasks.core.locks import lock
from tasks.core.records import DatasetRecord, ImageType, Sha256, Split
from tasks.core.storage import atomic_folder, write_record
from tasks.images import fashion_mnist
from tasks.images.formats.idx import IdxDigest, idx_sha256
from tasks.images.inspection import Facts, label_type, sound_images, sound_labels
from tasks.images.rows import ArrayRows, Index, spaced_rows
from tasks.images.sources import IDX_FILES, RawSplit

logger = logging.getLogger(__name__)

RECORD_FILE = "dataset.json"
PARTS = (*IDX_FILES, "all_images", "all_labels")
"""The arrays of a dataset, in the order of its payload's digest."""


def _payload_sha256(payloads: dict[str, Sha256]) -> Sha256:
    """One SHA-256 for images and labels together: that of their digests, in fixed order."""
    ordered = [payloads[part] for part in PARTS if part in payloads]
    return hashlib.sha256("".join(ordered).encode()).hexdigest()


def dataset_folder(name: str, payloads: dict[str, Sha256]) -> str:
    """Where a dataset with these arrays stands, relative to the artifacts folder."""
    return f"datasets/{name}-{_payload_sha256(payloads)[:12]}"


def _stored_copy(folder: Path, payloads: dict[str, Sha256]) -> DatasetRecord | None:
    """The copy in a folder, if it is there and its contents have these digests."""
    if not folder.exists():
        return None
    try:
        record = DatasetRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
        for part, sha256 in payloads.items():
            if idx_sha256(open_array(folder / array_file(part))) != sha256:
                raise StepError(f"{array_file(part)} does not hold what was written")
    except (OSError, ValueError, ValidationError, StepError) as error:
        logger.warning("The copy in %s is damaged and fetched anew: %s", folder.name, error)
        return None
    return record


def store_dataset(
    name: str,
    source: str,
    class_names: tuple[str, ...],
    splits: dict[Split, RawSplit],
    facts: Facts,
    root: Path,
) -> DatasetRecord:
    """Write the arrays where they can be memory-mapped, unless a verified copy is there."""
    record = DatasetRecord(
        name=name,
        folder=dataset_folder(name, facts.payloads),
        source=source,
        payload_sha256=_payload_sha256(facts.payloads),
        payloads=facts.payloads | _index_digests(splits),
        image_shape=facts.image_shape,
        dtype=cast(ImageType, facts.dtype.name),
        rows={split: len(raw.images) for split, raw in splits.items()},
        scale=facts.maxima["train" if "train" in splits else "all"] or 1.0,
        duplicates=facts.duplicates,
        class_names=fashion_mnist.CLASSES if name == fashion_mnist.NAME else class_names,
    )
    target = root / record.folder
    with lock(target.name, root):
        if stored := _stored_copy(target, record.payloads):
            return stored.model_copy(update={"class_names": record.class_names})
        with atomic_folder(target) as partial:
            for split, raw in splits.items():
                _write_split(split, raw, record, partial)
            write_record(partial / RECORD_FILE, record)
    return record


def _index_digests(splits: dict[Split, RawSplit]) -> dict[str, Sha256]:
    return {
        f"{split}_index": idx_sha256(raw.source_rows)
        for split, raw in splits.items()
        if raw.source_rows is not None
    }


def _write_split(split: Split, raw: RawSplit, record: DatasetRecord, folder: Path) -> None:
    """Write the arrays of a split.

    Raises:
        TransientError: they are not what was inspected.
    """

    def write(
        kind: str, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[NDArray[Any]]
    ) -> None:
        part = f"{split}_{kind}"
        if _write_array(folder / array_file(part), shape, dtype, blocks) != record.payloads[part]:
            raise TransientError(f"The {part} of {record.name} changed while they were read")

    rows = len(raw.images)
    shape = (rows, *record.image_shape)
    write("images", shape, np.dtype(record.dtype), sound_images(raw.images))
    if raw.labels:
        write("labels", (rows,), label_type(raw.labels), sound_labels(raw.labels))
    if raw.source_rows is not None:
        blocks = ArrayRows("index", raw.source_rows).blocks()
        write("index", (rows,), raw.source_rows.dtype, blocks)


def _write_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[NDArray[Any]]
) -> Sha256:
    """Write an `.npy` file block by block; return the digest of its values."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    digest = IdxDigest(shape, dtype)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
            digest.update(block)
    return digest.hexdigest()


def array_file(part: str) -> str:
    """The file of an array, which is called `<split>_images`, `_labels` or `_index`."""
    return f"{part.removesuffix('_images')}.npy"


def open_array(path: Path) -> NDArray[Any]:
    """An array of a stored dataset, memory-mapped."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def open_images(record: DatasetRecord, split: Split, root: Path) -> NDArray[Any]:
    """Images of a split, memory-mapped: (N, height, width[, 3]) uint8, uint16 or float32."""
    return open_array(root / record.folder / array_file(f"{split}_images"))


def open_labels(record: DatasetRecord, split: Split, root: Path) -> NDArray[Any] | None:
    """Classes of a split, memory-mapped, (N,) uint8 or int64; none if the source has none."""
    part = f"{split}_labels"
    return open_array(root / record.folder / array_file(part)) if part in record.payloads else None


def open_index(record: DatasetRecord, split: Split, root: Path) -> Index:
    """The row in its source of each image of a split, (N,), rising."""
    part = f"{split}_index"
    if part in record.payloads:
        return open_array(root / record.folder / array_file(part))
    return range(record.rows[split])


def representative_rows(
    record: DatasetRecord, split: Split, count: int, root: Path
) -> NDArray[np.int64]:
    """Rows of images that stand for all of a split, at most `count`, rising.

    The first ones, which are read in one piece, if no class is missing among them; otherwise, and
    where there are no labels, rows at equal distances: the images may stand in order.
    """
    labels = open_labels(record, split, root)
    if labels is not None and np.array_equal(np.unique(labels[:count]), np.unique(labels)):
        return np.arange(min(count, len(labels)))
    return spaced_rows(record.rows[split], count)
