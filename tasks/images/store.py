"""Datasets in the artifacts folder: written block by block, opened as memory maps."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError, TransientError
from tasks.core.locks import lock
from tasks.core.records import DatasetRecord, Sha256, Split
from tasks.core.storage import atomic_folder, read_record, write_record
from tasks.images.digest import rows_sha256
from tasks.images.formats.idx import IDX_FILES
from tasks.images.formats.numpy import open_npy
from tasks.images.rows import Index, RawDataset, RawSplit, Rows, counted_blocks, spaced_rows

logger = logging.getLogger(__name__)

RECORD_FILE = "dataset.json"


def store_dataset(record: DatasetRecord, arrays: Mapping[str, Rows], root: Path) -> DatasetRecord:
    """Write the arrays of a dataset; of a verified copy return the record, with new class names.

    Args:
        arrays: `<split>_images`, `<split>_labels` and `<split>_index`, as they are stored.

    Raises:
        StepError: an array has more or fewer rows than it says.
        TransientError: the arrays do not have the digests of `record`.
    """
    target = root / record.folder
    with lock(target.name, root):
        if stored := _stored_copy(target, record.payloads):
            return stored.model_copy(update={"class_names": record.class_names})
        with atomic_folder(target) as partial:
            for part, rows in arrays.items():
                _write_array(partial / array_file(part), rows)
                if not _has_digest(partial, part, record.payloads[part]):
                    raise TransientError(f"{rows.name} changed while it was read")
            write_record(partial / RECORD_FILE, record)
    return record


def _stored_copy(folder: Path, payloads: dict[str, Sha256]) -> DatasetRecord | None:
    """The record of a stored dataset, if its arrays have these digests."""
    if not folder.exists():
        return None
    try:
        record = read_record(folder / RECORD_FILE, DatasetRecord)
        for part, sha256 in payloads.items():
            if not _has_digest(folder, part, sha256):
                raise StepError(f"{array_file(part)} does not have the expected SHA-256")
    except StepError as error:
        logger.warning("The copy in %s is damaged and written again: %s", folder.name, error)
        return None
    return record


def _has_digest(folder: Path, part: str, sha256: Sha256) -> bool:
    return rows_sha256(open_npy(folder / array_file(part))) == sha256


def _write_array(path: Path, rows: Rows) -> None:
    descr = np.lib.format.dtype_to_descr(rows.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": rows.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in counted_blocks(rows):
            file.write(np.ascontiguousarray(block).data)


def open_copy(folder: Path) -> RawDataset:
    """Open a stored dataset as a source."""
    train, train_labels, test, test_labels = (
        open_npy(folder / array_file(part)) for part in IDX_FILES
    )
    return RawDataset(RawSplit(train, train_labels), RawSplit(test, test_labels))


def array_file(part: str) -> str:
    """The file of an array, which is named `<split>_images`, `_labels` or `_index`."""
    return f"{part.removesuffix('_images')}.npy"


def open_images(record: DatasetRecord, split: Split, root: Path) -> NDArray[Any]:
    """The images of a split, memory-mapped: (N, height, width[, 3]) uint8, uint16 or float32."""
    return _open_array(record, f"{split}_images", root)


def open_labels(record: DatasetRecord, split: Split, root: Path) -> NDArray[Any] | None:
    """The classes of a split, memory-mapped, (N,) uint8 or int64; None if the source has none."""
    part = f"{split}_labels"
    return _open_array(record, part, root) if part in record.payloads else None


def open_index(record: DatasetRecord, split: Split, root: Path) -> Index:
    """The row in its source of each image of a split, (N,), increasing."""
    part = f"{split}_index"
    if part in record.payloads:
        return _open_array(record, part, root)
    return range(record.rows[split])


def _open_array(record: DatasetRecord, part: str, root: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(root / record.folder / array_file(part), mmap_mode="r")
    return array


def representative_rows(
    record: DatasetRecord, split: Split, count: int, root: Path
) -> NDArray[np.int64]:
    """Rows of at most `count` images that represent a split, increasing.

    The first ones, which are read in one piece, if they are of all classes. Otherwise, and where
    there are no labels, evenly spaced ones: the images may be sorted.
    """
    labels = open_labels(record, split, root)
    if labels is not None and np.array_equal(np.unique(labels[:count]), np.unique(labels)):
        return np.arange(min(count, len(labels)))
    return spaced_rows(record.rows[split], count)
