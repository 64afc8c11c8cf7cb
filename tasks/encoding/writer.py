"""Writer of codes files; `tasks.codes.contract` says what they are."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.codes.contract import chunk_rows, content_sha256
from tasks.codes.provenance import (
    CONTENT_SHA256,
    LONGEST_CLASS_NAMES,
    ModelProvenance,
    SplitProvenance,
)
from tasks.codes.reader import verify_codes
from tasks.core.errors import StepError
from tasks.core.hdf5 import create_hdf5
from tasks.core.records import DatasetRecord, Sha256, Split
from tasks.core.storage import atomic_file
from tasks.images.rows import Index
from tasks.models.store import ModelRecord


class CodesBlock(NamedTuple):
    """Consecutive rows of one model."""

    codes: NDArray[np.float32]
    """(rows, code_size)."""
    reconstruction_mse: NDArray[np.float32]
    """(rows,) over the image's pixels, on the 0..1 scale."""


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
    """Write a codes file, verify it, then give it its name.

    The bytes do not depend on how the rows are cut into blocks; memory does not grow with them.

    Args:
        index: (N,) rows in the source, rising.
        labels: (N,) integers from 0, usually memory-mapped; none if the source has no labels.

    Raises:
        StepError: a model has another number of rows, or the file cannot be written.
        CodesError: the written file does not follow the contract.
    """
    names = tuple(model.record.name for model in models)
    provenance = SplitProvenance(
        models=names,
        split=split,
        dataset=dataset.name,
        dataset_payload_sha256=dataset.payload_sha256,
        image_shape=dataset.image_shape,
        scale=dataset.scale,
        class_names=dataset.class_names if labels is not None else (),
    )
    with atomic_file(path) as partial:
        with create_hdf5(partial) as file:
            write_attributes(file, _file_attributes(provenance, labels is not None))
            _write_integers(file, "index", index)
            if labels is not None:
                _write_integers(file, "labels", labels)
            for model in models:
                _write_model(file.create_group(model.record.name), model, len(index))
            write_attributes(file, {CONTENT_SHA256: content_sha256(file, names)})
        verify_codes(partial)


def _file_attributes(provenance: SplitProvenance, labelled: bool) -> dict[str, Any]:
    attributes = asdict(provenance)
    names = json.dumps(attributes.pop("class_names"))  # in ASCII, which h5dump shows unescaped
    if labelled and len(names) <= LONGEST_CLASS_NAMES:
        attributes["class_names"] = names
    return attributes


def write_attributes(group: h5py.Group, attributes: dict[str, Any]) -> None:
    """Write text as variable-length UTF-8: h5py gives fixed-length text as bytes."""
    for name, value in attributes.items():
        array = np.asarray(value)
        if array.dtype.kind == "U":
            group.attrs.create(name, array.astype(object), dtype=h5py.string_dtype("utf-8"))
        else:
            group.attrs[name] = array


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


def _write_integers(file: h5py.File, name: str, values: NDArray[Any] | range) -> None:
    """Write them a chunk at a time: they may be memory-mapped."""
    dataset = _create(file, name, (len(values),), "<i8")
    for start in range(0, len(values), dataset.chunks[0]):
        chunk = slice(start, start + dataset.chunks[0])
        dataset[chunk] = np.asarray(values[chunk])


def _write_model(group: h5py.Group, model: ModelCodes, rows: int) -> None:
    code_size = model.record.spec.architecture.code_size
    codes = _create(group, "codes", (rows, code_size), "<f4")
    mse = _create(group, "reconstruction_mse", (rows,), "<f4")
    start, digest = 0, hashlib.sha256()
    for block in _whole_chunks(model.blocks, codes.chunks[0]):
        stop = start + len(block.codes)
        if stop <= rows:
            codes[start:stop] = block.codes
            mse[start:stop] = block.reconstruction_mse
            digest.update(np.asarray(block.codes, "<f4").tobytes())
        start = stop
    if start != rows:
        raise StepError(f"The {model.record.name} model encoded {start} images, expected {rows}")
    write_attributes(group, asdict(_model_provenance(model.record, digest.hexdigest())))


def _whole_chunks(blocks: Iterable[CodesBlock], rows: int) -> Iterator[CodesBlock]:
    """Cut the same rows into blocks of `rows` rows; only the last one may have fewer.

    Each chunk is then compressed once, and its place in the file does not depend on the cut.
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


def _model_provenance(record: ModelRecord, codes_sha256: Sha256) -> ModelProvenance:
    return ModelProvenance(
        fingerprint=record.fingerprint,
        encoder_weights_sha256=record.encoder_weights_sha256,
        basis=record.basis or record.encoder_weights_sha256,
        architecture=record.layers,
        recipe=json.dumps(record.spec.recipe.model_dump(mode="json"), sort_keys=True),
        seed=record.spec.seed,
        validation_loss=record.validation_loss,
        codes_sha256=codes_sha256,
    )
