"""What a codes file must be, as data, and the check that a file is exactly that.

Layout, for N images:

    /index                        (N,) int64     row in the source split
    /labels                       (N,) int64     class, from 0; absent where the source has none
    /<model>/codes                (N, code_size) float32
    /<model>/reconstruction_mse   (N,) float32   over the image's pixels, on the 0..1 scale

Everything else is an attribute: the fields of `SplitProvenance` on the file, those of
`ModelProvenance` on each model's group.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import h5py
import numpy as np

from .errors import CodesError
from .provenance import CONTENT_SHA256, ModelProvenance, SplitProvenance, read_provenance, text_type

CHUNK_BYTES = 2**20
"""Largest chunk, before compression."""
FILTERS = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32]


class Layout(NamedTuple):
    """What one dataset of the file must be."""

    path: str
    dtype: str
    dimensions: int


def layout(models: tuple[str, ...], labelled: bool) -> list[Layout]:
    """Every dataset of a file with these models."""
    datasets = [Layout("index", "<i8", 1)]
    if labelled:
        datasets.append(Layout("labels", "<i8", 1))
    for model in models:
        datasets += [
            Layout(f"{model}/codes", "<f4", 2),
            Layout(f"{model}/reconstruction_mse", "<f4", 1),
        ]
    return datasets


def chunk_rows(rows: int, row_bytes: int) -> int:
    """Rows of one chunk: all of them, or the largest power of two within `CHUNK_BYTES`.

    Powers of two nest: a block that fills a chunk of one dataset never straddles the chunks of
    another.
    """
    largest = max(1, CHUNK_BYTES // row_bytes)
    return rows if rows <= largest else 2 ** (largest.bit_length() - 1)


def chunks_of(dataset: h5py.Dataset) -> Iterator[Any]:
    """The rows of a dataset, a chunk at a time."""
    for start in range(0, len(dataset), dataset.chunks[0]):
        yield dataset[start : start + dataset.chunks[0]]


def content_sha256(file: h5py.File, models: tuple[str, ...]) -> str:
    """SHA-256 over all names, types, shapes and values, except this attribute itself.

    Over the file, its groups and its datasets in the order of their paths: of each its attributes
    in the order of their names, then, of a dataset, its rows. Text of variable length counts as its
    UTF-8 bytes and a zero byte.
    """
    digest = hashlib.sha256()
    datasets = [entry.path for entry in layout(models, labelled="labels" in file)]
    for path in sorted(["/", *models, *datasets]):
        item = file[path]
        for name in sorted(set(item.attrs) - {CONTENT_SHA256}):
            value, text = np.asarray(item.attrs[name]), text_type(item, name)
            if text and text.length is None:
                digest.update(f"{path}@{name}utf-8{value.shape}".encode())
                digest.update(b"".join(entry.encode() + b"\0" for entry in value.flat))
            else:
                digest.update(f"{path}@{name}{value.dtype.str}{value.shape}".encode())
                digest.update(value.tobytes())
        if isinstance(item, h5py.Dataset):
            digest.update(f"{path}{item.dtype.str}{item.shape}".encode())
            for rows in chunks_of(item):
                digest.update(rows.tobytes())
    return digest.hexdigest()


def check_contract(file: h5py.File) -> tuple[SplitProvenance, dict[str, ModelProvenance]]:
    """Check everything: links, layout, filters, attributes, checksums, values.

    Returns:
        The attributes of the file and, by name, of its models.

    Raises:
        CodesError: names what was found and what was expected.
    """
    _check_links(file)
    split, models = read_provenance(file)
    datasets = _open_datasets(file, split.models)
    rows = len(file["index"])
    if rows == 0:
        raise CodesError("it has no rows, expected at least one")
    for entry, dataset in datasets.items():
        _check_dataset(dataset, entry, rows)
    content = content_sha256(file, split.models)
    if file.attrs.get(CONTENT_SHA256) not in (content, content.encode()):
        raise CodesError(f"its contents do not have the SHA-256 in its attribute {CONTENT_SHA256}")
    digests = {entry.path: _check_values(dataset) for entry, dataset in datasets.items()}
    if split.schema_version > 1:
        _check_labels(file, split.class_names)
    return split, {
        name: _check_codes(name, model, digests[f"{name}/codes"], split.schema_version)
        for name, model in models.items()
    }


def _check_links(group: h5py.Group, prefix: str = "") -> None:
    """Refuse everything that leads elsewhere, before anything is followed."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise CodesError(f"{prefix}{name} is a link, expected a dataset or group")
        if not prefix and isinstance(group[name], h5py.Group):
            _check_links(group[name], f"{name}/")


def _open_datasets(file: h5py.File, models: tuple[str, ...]) -> dict[Layout, h5py.Dataset]:
    """Open every dataset; refuse other objects, objects with two names, attributes of datasets."""
    entries = layout(models, labelled="labels" in file)
    names = {entry.path for entry in entries} | set(models)
    found = set(file) | {f"{model}/{name}" for model in models for name in file[model]}
    for name in sorted(names ^ found):
        raise CodesError(f"{name} is {'missing' if name in names else 'not part of the contract'}")
    for name in sorted(names):
        if h5py.h5o.get_info(file.id, name.encode()).rc != 1:
            raise CodesError(f"{name} has another name too, expected one name for each object")
    datasets = {entry: file[entry.path] for entry in entries}
    for entry, dataset in datasets.items():
        if not isinstance(dataset, h5py.Dataset):
            raise CodesError(f"{entry.path} is a group, expected a dataset")
        if attributes := sorted(dataset.attrs):
            raise CodesError(f"{entry.path} has the attribute {attributes[0]}, expected none")
    return datasets


def _check_dataset(dataset: h5py.Dataset, entry: Layout, rows: int) -> None:
    if dataset.dtype.str != entry.dtype:
        raise CodesError(f"{entry.path} has type {dataset.dtype.str}, expected {entry.dtype}")
    if dataset.ndim != entry.dimensions or len(dataset) != rows or 0 in dataset.shape:
        raise CodesError(
            f"{entry.path} has shape {dataset.shape}, expected {rows} rows "
            f"in {entry.dimensions} dimensions"
        )
    if dataset.is_virtual or dataset.external or dataset.chunks is None:
        raise CodesError(f"{entry.path} is stored outside the file or without chunks")
    row_bytes = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))
    chunk = (chunk_rows(rows, row_bytes), *dataset.shape[1:])
    if dataset.chunks != chunk:
        raise CodesError(f"{entry.path} has chunks of shape {dataset.chunks}, expected {chunk}")
    # Chunks that were never written read as zeros, however many the shape claims.
    if dataset.id.get_num_chunks() != -(-rows // dataset.chunks[0]):
        raise CodesError(f"{entry.path} lacks chunks")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    if filters != FILTERS:
        raise CodesError(f"{entry.path} has filters {filters}, expected shuffle, gzip, Fletcher-32")


def _check_values(dataset: h5py.Dataset) -> str:
    """Check that all values are finite, and the index rising; return the SHA-256 of the rows."""
    previous, digest = -1, hashlib.sha256()
    for rows in chunks_of(dataset):
        digest.update(rows)
        if not np.isfinite(rows).all():
            raise CodesError(f"{dataset.name} holds values that are not finite")
        if dataset.name == "/index":
            if not (np.diff(rows, prepend=previous) > 0).all():
                raise CodesError("/index does not rise from row to row")
            previous = rows[-1]
    return digest.hexdigest()


def _check_labels(file: h5py.File, class_names: tuple[str, ...]) -> None:
    """Labels count from 0 into the class names, where the file has them."""
    named = "class_names" in file.attrs
    if "labels" not in file:
        if named:
            raise CodesError("attribute class_names is unknown, expected none without labels")
        return
    for rows in chunks_of(file["labels"]):
        if rows.min() < 0 or (named and rows.max() >= len(class_names)):
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise CodesError(
                f"/labels holds {wrong}, expected one that counts from 0 into the "
                f"{len(class_names)} class names"
            )


def _check_codes(name: str, model: ModelProvenance, digest: str, version: int) -> ModelProvenance:
    """Check the digest of a model's codes; fill it in where the file has none."""
    if version > 1 and model.codes_sha256 != digest:
        raise CodesError(f"{name}/codes does not have the SHA-256 in the attribute codes_sha256")
    return replace(model, codes_sha256=digest)
