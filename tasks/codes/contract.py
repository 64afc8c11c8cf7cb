"""What a codes file must be, as data, and the check that one is nothing else.

Layout, for N images:

    /index                        (N,) int64     row in the source split
    /labels                       (N,) int64     class; absent where the source has none
    /<model>/codes                (N, code_size) float32
    /<model>/reconstruction_mse   (N,) float32   over the image's pixels, on the 0..1 scale

Everything else is an attribute: the fields of `SplitProvenance` on the file, those of
`ModelProvenance` on each model's group.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import h5py
import numpy as np
from pydantic import Field, FiniteFloat

from tasks.core.errors import StepError
from tasks.core.records import Record, Sha256, Split

SCHEMA_NAME: Literal["autoencoder-flow/codes"] = "autoencoder-flow/codes"
SCHEMA_VERSION: Literal[1] = 1
SCHEMA_SINCE = "0.1.0"
"""The first version of this project that reads the schema; in the file for older readers."""
CONTENT_SHA256 = "content_sha256"
CHUNK_BYTES = 2**20
"""Largest chunk, before compression."""

R = TypeVar("R", bound=Record)


class SplitProvenance(Record):
    """The attributes of the file."""

    schema_name: Literal["autoencoder-flow/codes"] = SCHEMA_NAME
    schema_version: Literal[1] = SCHEMA_VERSION
    schema_since: str = Field(SCHEMA_SINCE, description="first project version that reads it")
    models: tuple[str, ...] = Field(min_length=1, description="the groups, in order")
    split: Split
    dataset: str
    dataset_payload_sha256: Sha256
    image_shape: tuple[int, ...] = Field(description="height, width and, in colour, 3")
    scale: FiniteFloat = Field(gt=0, description="pixel values were divided by it")


class ModelProvenance(Record):
    """The attributes of a model's group."""

    fingerprint: Sha256 = Field(description="identifies the training")
    encoder_weights_sha256: Sha256
    architecture: str = Field(description="layer sizes, as in 784-32-784")
    recipe: str = Field(description="JSON: how it was trained")
    seed: int = Field(ge=0)
    validation_loss: FiniteFloat = Field(description="cross-entropy per pixel, nats")


class Layout(NamedTuple):
    """What one dataset of the file must be."""

    path: str
    dtype: str
    dimensions: int


def layout(models: tuple[str, ...], labelled: bool) -> list[Layout]:
    """Every dataset of a file with these models."""
    found = [Layout("index", "<i8", 1)]
    if labelled:
        found.append(Layout("labels", "<i8", 1))
    for model in models:
        found += [
            Layout(f"{model}/codes", "<f4", 2),
            Layout(f"{model}/reconstruction_mse", "<f4", 1),
        ]
    return found


def chunk_rows(rows: int, row_bytes: int) -> int:
    """Rows of one chunk: all of them, or the largest power of two within `CHUNK_BYTES`.

    Powers of two nest, so that a block which fills a chunk of one dataset never straddles the
    chunks of another.
    """
    largest = max(1, CHUNK_BYTES // row_bytes)
    return rows if rows <= largest else 2 ** (largest.bit_length() - 1)


def write_attributes(group: h5py.Group, attributes: dict[str, Any]) -> None:
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


def read_attributes(group: h5py.Group) -> dict[str, Any]:
    """Every attribute as a Python value.

    Raises:
        StepError: one is neither a number nor fixed-length UTF-8.
    """
    values = {}
    for name in group.attrs:
        dtype = group.attrs.get_id(name).dtype
        text = h5py.check_string_dtype(dtype)
        if not (dtype.kind in "if" or (text and text.length and text.encoding == "utf-8")):
            raise StepError(f"attribute {name} is neither a number nor fixed-length UTF-8 text")
        array = np.asarray(group.attrs[name])
        values[name] = (np.char.decode(array, "utf-8") if text else array).tolist()
    return values


def content_sha256(file: h5py.File, models: tuple[str, ...]) -> Sha256:
    """SHA-256 over all names, types, shapes and values, but this attribute itself.

    Over the file, its groups and its datasets in the order of their paths: of each its attributes
    in the order of their names, then, of a dataset, its rows.
    """
    digest = hashlib.sha256()
    datasets = [entry.path for entry in layout(models, labelled="labels" in file)]
    for path in sorted(["/", *models, *datasets]):
        item = file[path]
        for name in sorted(set(item.attrs) - {CONTENT_SHA256}):
            value = np.asarray(item.attrs[name])
            digest.update(f"{path}@{name}{value.dtype.str}{value.shape}".encode())
            digest.update(value.tobytes())
        if isinstance(item, h5py.Dataset):
            digest.update(f"{path}{item.dtype.str}{item.shape}".encode())
            for rows in chunks_of(item):
                digest.update(rows.tobytes())
    return digest.hexdigest()


def chunks_of(dataset: h5py.Dataset) -> Iterator[Any]:
    """The rows of a dataset, a chunk at a time."""
    for start in range(0, len(dataset), dataset.chunks[0]):
        yield dataset[start : start + dataset.chunks[0]]


def provenance_of(file: h5py.File) -> tuple[SplitProvenance, dict[str, ModelProvenance]]:
    """The attributes of a file and, by name, of its models.

    Raises:
        StepError: another schema.
        ValidationError: an attribute is missing, unknown or wrong.
    """
    attributes = read_attributes(file)
    if attributes.get("schema_name") != SCHEMA_NAME:
        raise StepError(f"no file of the schema {SCHEMA_NAME}")
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StepError(
            f"schema version {version}, and this reader knows {SCHEMA_VERSION}: read it with "
            f"autoencoder-flow {attributes.get('schema_since', '(unknown)')} or newer"
        )
    attributes.pop(CONTENT_SHA256, None)
    split = _validate(SplitProvenance, attributes)
    return split, {
        model: _validate(ModelProvenance, read_attributes(file[model])) for model in split.models
    }


def _validate(record: type[R], attributes: dict[str, Any]) -> R:
    return record.model_validate_json(json.dumps(attributes), strict=True)


def check_contract(file: h5py.File) -> None:
    """Check everything: links, layout, filters, attributes, checksums, values.

    Raises:
        StepError: what was found and what was expected.
        ValidationError: an attribute is missing, unknown or wrong.
    """
    _check_links(file)
    split, _ = provenance_of(file)
    expected = layout(split.models, labelled="labels" in file)
    _check_names(file, split.models, expected)
    _check_objects(file, split.models, expected)
    rows = len(file["index"])
    if rows == 0:
        raise StepError("no rows, expected at least one")
    for entry in expected:
        _check_dataset(file[entry.path], entry, rows)
    if file.attrs.get(CONTENT_SHA256) != content_sha256(file, split.models).encode():
        raise StepError(f"its contents do not have the SHA-256 in its attribute {CONTENT_SHA256}")
    for entry in expected:
        _check_values(file[entry.path])


def _check_links(group: h5py.Group, prefix: str = "") -> None:
    """Refuse everything that leads elsewhere, before anything is followed."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise StepError(f"{prefix}{name} is a link, expected a dataset or group")
        if not prefix and isinstance(group[name], h5py.Group):
            _check_links(group[name], f"{name}/")


def _check_names(file: h5py.File, models: tuple[str, ...], expected: list[Layout]) -> None:
    names = {entry.path for entry in expected} | set(models)
    found = set(file) | {f"{model}/{name}" for model in models for name in file[model]}
    for name in sorted(names ^ found):
        raise StepError(f"{name} is {'missing' if name in names else 'not of the contract'}")
    for entry in expected:
        if not isinstance(file[entry.path], h5py.Dataset):
            raise StepError(f"{entry.path} is a group, expected a dataset")


def _check_objects(file: h5py.File, models: tuple[str, ...], expected: list[Layout]) -> None:
    """Refuse one object under two names, and attributes that the contract does not know."""
    for path in (*models, *(entry.path for entry in expected)):
        if h5py.h5o.get_info(file[path].id).rc != 1:
            raise StepError(f"{path} stands under another name too")
    for entry in expected:
        if names := sorted(file[entry.path].attrs):
            raise StepError(f"{entry.path} has the attribute {names[0]}, expected none")


def _check_dataset(dataset: h5py.Dataset, entry: Layout, rows: int) -> None:
    if dataset.dtype.str != entry.dtype:
        raise StepError(f"{entry.path} has type {dataset.dtype.str}, expected {entry.dtype}")
    if dataset.ndim != entry.dimensions or len(dataset) != rows or 0 in dataset.shape:
        raise StepError(
            f"{entry.path} has shape {dataset.shape}, expected {rows} rows "
            f"in {entry.dimensions} dimensions"
        )
    if dataset.is_virtual or dataset.external or dataset.chunks is None:
        raise StepError(f"{entry.path} is stored outside the file or without chunks")
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    if dataset.chunks != (chunk_rows(rows, row_bytes), *dataset.shape[1:]):
        raise StepError(f"{entry.path} has chunks of shape {dataset.chunks}")
    # Chunks that were never written read as zeros, however many the shape claims.
    if dataset.id.get_num_chunks() != -(-rows // dataset.chunks[0]):
        raise StepError(f"{entry.path} lacks chunks")
    _check_filters(dataset.id.get_create_plist(), entry.path)


def _check_filters(properties: h5py.h5p.PropDCID, path: str) -> None:
    found = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if found != [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32]:
        raise StepError(f"{path} has filters {found}, expected shuffle, gzip, Fletcher-32")


def _check_values(dataset: h5py.Dataset) -> None:
    previous = -1
    for rows in chunks_of(dataset):
        if not np.isfinite(rows).all():
            raise StepError(f"{dataset.name} holds values that are not finite")
        if dataset.name == "/index":
            if not (np.diff(rows, prepend=previous) > 0).all():
                raise StepError("the index does not rise from row to row")
            previous = rows[-1]
