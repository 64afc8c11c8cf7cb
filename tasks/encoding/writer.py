"""Writer of the codes files, `codes/<split>.h5`; the contract is in `codes_contract`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.codes.contract import (
    CONTENT_SHA256,
    ModelProvenance,
    SplitProvenance,
    chunk_rows,
    content_sha256,
    write_attributes,
)
from tasks.codes.reader import verify_codes
from tasks.core.errors import StepError
from tasks.core.hdf5 import create_hdf5
from tasks.core.records import DatasetRecord, Split
from tasks.core.storage import atomic_file
from tasks.images.rows import Index
from tasks.models.store import ModelRecord


class CodesBlock(NamedTuple):
    """Consecutive rows of one model."""

    codes: NDArray[np.float32]
    """(rows, code_size)."""
    reconstruction_mse: NDArray[np.float32]
    """(rows,)."""


class ModelCodes(NamedTuple):
    """All rows of one model, in the order of the split, block by block."""

    record: ModelRecord
    blocks: Iterable[CodesBlock]


def write_codes(
    path: Path,
    split: Split,
    dataset: DatasetRecord,
    index: Index,
    labels: NDArray[Any] | None,
    models: list[ModelCodes],
) -> None:
    """Write, read back and verify a codes file; then it gets its name.

    The bytes do not depend on how the rows are cut into blocks; memory does not grow with them.

    Args:
        index: (N,) rows in the source, rising.
        labels: (N,) integers, as a rule memory-mapped; none if the source has none.

    Raises:
        StepError: what was read back is not what the contract says.
    """
    with atomic_file(path) as partial:
        with create_hdf5(partial) as file:
            names = tuple(model.record.name for model in models)
            write_attributes(file, _split_provenance(split, dataset, names).model_dump())
            _write_whole(file, "index", index)
            if labels is not None:
                _write_whole(file, "labels", labels)
            for model in models:
                _write_model(file.create_group(model.record.name), model, len(index))
            write_attributes(file, {CONTENT_SHA256: content_sha256(file, names)})
        verify_codes(partial)


def _create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    return group.create_dataset(
        name,
        shape,
        dtype,
        chunks=(chunk_rows(shape[0], row_bytes), *shape[1:]),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )


def _write_whole(file: h5py.File, name: str, values: NDArray[Any] | range) -> None:
    """Write whole numbers, a chunk at a time."""
    dataset = _create(file, name, (len(values),), "<i8")
    for start in range(0, len(values), dataset.chunks[0]):
        chunk = slice(start, start + dataset.chunks[0])
        dataset[chunk] = np.asarray(values[chunk])


def _write_model(group: h5py.Group, model: ModelCodes, rows: int) -> None:
    code_size = model.record.spec.architecture.code_size
    codes = _create(group, "codes", (rows, code_size), "<f4")
    mse = _create(group, "reconstruction_mse", (rows,), "<f4")
    write_attributes(group, _model_provenance(model.record).model_dump())
    start = 0
    for block in _whole_chunks(model.blocks, codes.chunks[0]):
        stop = start + len(block.codes)
        if stop <= rows:
            codes[start:stop] = block.codes
            mse[start:stop] = block.reconstruction_mse
        start = stop
    if start != rows:
        raise StepError(f"The {model.record.name} model encoded {start} images, expected {rows}")


def _whole_chunks(blocks: Iterable[CodesBlock], rows: int) -> Iterator[CodesBlock]:
    """Cut the same rows into blocks of that many; only the last one may have fewer.

    A chunk is then compressed once, and stands in the file where it would for any other cut.
    """
    waiting: list[CodesBlock] = []
    for block in blocks:
        waiting.append(block)
        while sum(len(part.codes) for part in waiting) >= rows:
            joined = _join(waiting)
            yield CodesBlock(*(column[:rows] for column in joined))
            waiting = [CodesBlock(*(column[rows:] for column in joined))]
    if any(len(part.codes) for part in waiting):
        yield _join(waiting)


def _join(blocks: list[CodesBlock]) -> CodesBlock:
    return CodesBlock(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def _split_provenance(
    split: Split, dataset: DatasetRecord, models: tuple[str, ...]
) -> SplitProvenance:
    return SplitProvenance(
        models=models,
        split=split,
        dataset=dataset.name,
        dataset_payload_sha256=dataset.payload_sha256,
        image_shape=dataset.image_shape,
        scale=dataset.scale,
    )


def _model_provenance(record: ModelRecord) -> ModelProvenance:
    return ModelProvenance(
        fingerprint=record.fingerprint,
        encoder_weights_sha256=record.encoder_weights_sha256,
        architecture=record.layers,
        recipe=json.dumps(record.spec.recipe.model_dump(mode="json"), sort_keys=True),
        seed=record.spec.seed,
        validation_loss=record.validation_loss,
    )
