"""The codes file, `codes/<split>.h5`: the contract in code, writer and reader in one place.

Layout, for N images:

    /index                        (N,) int64     row in the source split
    /labels                       (N,) int64     class
    /<model>/codes                (N, code_size) float32
    /<model>/reconstruction_mse   (N,) float32   over the image's pixels, on the 0..1 scale

Everything else is an attribute. The file holds no time, host, path or run name: identical inputs
give identical bytes. Any HDF5 reader from version 1.8 on opens it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from tasks.errors import StepError
from tasks.models import ModelRecord
from tasks.records import DatasetRecord, Split
from tasks.storage import atomic_file

SCHEMA_NAME = "autoencoder-flow/codes"
SCHEMA_VERSION = 1
CHUNK_BYTES = 2**20
"""Largest chunk, before compression."""


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
    labels: NDArray[np.int64],
    models: list[ModelCodes],
) -> None:
    """Write, read back and verify a codes file; then it gets its name.

    Args:
        labels: (N,) int64, N the rows of the split.

    Raises:
        StepError: what was read back is not what the contract says.
    """
    with atomic_file(path) as partial:
        with h5py.File(partial, "w", libver=("earliest", "v108"), track_order=False) as file:
            _write_attributes(file, _file_attributes(split, dataset, models))
            rows = len(labels)
            _create(file, "index", (rows,), np.int64)[...] = np.arange(rows)
            _create(file, "labels", (rows,), np.int64)[...] = labels
            for model in models:
                _write_model(file.create_group(model.record.name), model, rows)
        verify_codes(partial)


def _create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    chunk_rows = min(shape[0], max(1, CHUNK_BYTES // row_bytes))
    return group.create_dataset(
        name,
        shape,
        dtype,
        chunks=(chunk_rows, *shape[1:]),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )


def _write_model(group: h5py.Group, model: ModelCodes, rows: int) -> None:
    code_size = model.record.spec.architecture.code_size
    codes = _create(group, "codes", (rows, code_size), np.float32)
    mse = _create(group, "reconstruction_mse", (rows,), np.float32)
    _write_attributes(group, _model_attributes(model.record))
    start = 0
    for block in model.blocks:
        stop = start + len(block.codes)
        codes[start:stop] = block.codes
        mse[start:stop] = block.reconstruction_mse
        start = stop
    if start != rows:
        raise StepError(f"The {model.record.name} model encoded {start} images, expected {rows}")


def _file_attributes(
    split: Split, dataset: DatasetRecord, models: list[ModelCodes]
) -> dict[str, Any]:
    return {
        "schema_name": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION,
        "models": [model.record.name for model in models],
        "split": split,
        "dataset": dataset.name,
        "dataset_payload_sha256": dataset.payload_sha256,
        "image_shape": dataset.image_shape,
        "scale": dataset.scale,
    }


def _model_attributes(record: ModelRecord) -> dict[str, Any]:
    return {
        "fingerprint": record.fingerprint,
        "encoder_weights_sha256": record.encoder_weights_sha256,
        "architecture": record.layers,
        "recipe": json.dumps(record.spec.recipe.model_dump(mode="json"), sort_keys=True),
        "seed": record.spec.seed,
        "validation_loss": record.validation_loss,
    }


def _write_attributes(group: h5py.Group, attributes: dict[str, Any]) -> None:
    """Write text as fixed-length UTF-8, which readers without variable-length strings take."""
    for name, value in attributes.items():
        array = np.asarray(value)
        if array.dtype.kind == "U":
            encoded = np.char.encode(array, "utf-8")
            group.attrs.create(
                name, encoded, dtype=h5py.string_dtype("utf-8", encoded.dtype.itemsize)
            )
        else:
            group.attrs[name] = array


@dataclass(frozen=True)
class Codes:
    """One model's codes, read whole."""

    codes: NDArray[np.float32]
    """(N, code_size)."""
    reconstruction_mse: NDArray[np.float32]
    """(N,) over the image's pixels, on the 0..1 scale."""
    labels: NDArray[np.int64]
    """(N,) class."""
    index: NDArray[np.int64]
    """(N,) row in the source split."""


def read_codes(path: Path, model: str) -> Codes:
    """Read one model's codes.

    Raises:
        StepError: the file or the model in it cannot be read.
    """
    try:
        with h5py.File(path) as file:
            group = file[model]
            names = (group["codes"], group["reconstruction_mse"], file["labels"], file["index"])
            return Codes(*(dataset[...] for dataset in names))
    except (OSError, KeyError) as error:
        raise StepError(f"{path} has no readable codes of {model}: {error}") from None


def verify_codes(path: Path) -> None:
    """Read a codes file whole and check it against the contract.

    Raises:
        StepError: what was found and what was expected.
    """
    try:
        with h5py.File(path) as file:
            models = [name.decode() for name in file.attrs["models"]]
            rows = len(file["index"])
            for name in models:
                _verify_model(file[name], rows)
    except (OSError, KeyError) as error:
        raise StepError(
            f"{path.name} is not a readable codes file ({error}): write it again"
        ) from None


def _verify_model(group: h5py.Group, rows: int) -> None:
    for name in ("codes", "reconstruction_mse"):
        dataset = group[name]
        if len(dataset) != rows:
            raise StepError(f"{dataset.name} has {len(dataset)} rows, expected {rows}")
        for chunk in dataset.iter_chunks():
            if not np.isfinite(dataset[chunk]).all():
                raise StepError(f"{dataset.name} holds values that are not finite")
