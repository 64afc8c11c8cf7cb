"""From the description of a source to arrays that can be read. What they hold is checked later."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.core.records import SPLITS
from tasks.images.formats.arrays import open_hdf5, open_npy, open_npz
from tasks.images.formats.idx import GZIP_SUFFIX, open_idx
from tasks.images.formats.pictures import PictureRows, class_folders, find_pictures, label_pictures
from tasks.images.rows import ChainedRows, Rows
from tasks.images.source_parameters import (
    AnySource,
    Hdf5File,
    IdxFolder,
    NpyFiles,
    NpzFile,
    PictureFolder,
)

DATA_ROOT_VARIABLE = "AUTOENCODER_DATA_ROOT"
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
IMAGE_DIMENSIONS, LABEL_DIMENSIONS = (3, 4), (1,)


class RawSplit(NamedTuple):
    """Images that belong together, as their source has them."""

    images: Rows
    labels: Rows | None = None
    source_rows: NDArray[np.int64] | None = None
    """(N,) their rows in the source, rising; none if these are all."""


class RawDataset(NamedTuple):
    """What a source has."""

    images: RawSplit
    test: RawSplit | None = None
    """None where the source does not tell which images are for testing."""
    class_names: tuple[str, ...] = ()


@contextmanager
def open_source(source: AnySource) -> Iterator[RawDataset]:
    """Open what is described; the arrays can be read until the context ends.

    Raises:
        StepError: something is missing, damaged or forbidden.
    """
    with ExitStack() as stack:
        yield OPENERS[type(source)](source, stack)


def split_rows(images: RawSplit, share: float, seed: int) -> tuple[RawSplit, RawSplit]:
    """Set a share of the images apart for testing, at least one; both keep their order.

    Raises:
        StepError: too few are left to learn from.
    """
    rows = len(images.images)
    count = max(1, round(share * rows))
    if rows - count < 2:
        raise StepError(
            f"{images.images.where} holds {rows} images, too few to set {share:.0%} apart for "
            "testing and to learn from the others"
        )
    for_testing = np.zeros(rows, bool)
    for_testing[np.random.default_rng(seed).permutation(rows)[:count]] = True
    return _select(images, ~for_testing), _select(images, for_testing)


def _select(split: RawSplit, wanted: NDArray[np.bool_]) -> RawSplit:
    return RawSplit(
        images=split.images.select(wanted),
        labels=split.labels.select(wanted) if split.labels else None,
        source_rows=np.flatnonzero(wanted),
    )


def join(raw: RawDataset) -> RawSplit:
    """All images of a source, those for testing last; without labels if some have none."""
    if raw.test is None:
        return raw.images
    labels = [split.labels for split in (raw.images, raw.test) if split.labels]
    return RawSplit(
        images=ChainedRows([raw.images.images, raw.test.images]),
        labels=ChainedRows(labels) if len(labels) == 2 else None,
    )


def allowed_path(name: str | Path) -> Path:
    """Resolve a path that a run names; where a data root is set it must lie beneath it.

    Raises:
        StepError: it lies elsewhere, or is nothing that can be read from its start again.
    """
    try:
        path, allowed = Path(name).expanduser().resolve(), data_root()
        readable = path.is_file() or path.is_dir() or not path.exists()
    except (RuntimeError, ValueError, OSError) as error:  # links in a circle, no such user, NUL
        raise StepError(f"{name!r} is no path that can be followed: {error}") from None
    if not readable:
        raise StepError(f"{name} is neither a file nor a folder")
    if allowed and not path.is_relative_to(allowed):
        raise StepError(f"{name} is outside {allowed}, the only place data may be in")
    return path


def data_root() -> Path | None:
    """The only place data may be in, if the deployment names one."""
    name = os.environ.get(DATA_ROOT_VARIABLE)
    return Path(name).resolve() if name else None


def open_idx_folder(folder: Path, resolve: Callable[[Path], Path] = Path) -> RawDataset:
    """The IDX files of a folder; only the one of training images must be there.

    Args:
        resolve: called with every path before it is opened.

    Raises:
        StepError: a file is missing, damaged or of the wrong kind.
    """
    if not folder.is_dir():
        raise StepError(f"{folder} is not a folder: place the IDX files there")
    paths = {part: _idx_path(folder, name) for part, name in IDX_FILES.items()}
    splits = {
        split: _idx_split(resolve, paths[f"{split}_images"], paths[f"{split}_labels"])
        for split in SPLITS
        if split == "train" or paths[f"{split}_images"].exists()
    }
    return RawDataset(splits["train"], splits.get("test"))


def _idx_path(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else plain.with_name(name + GZIP_SUFFIX)


def _idx_split(resolve: Callable[[Path], Path], images: Path, labels: Path) -> RawSplit:
    return RawSplit(
        images=open_idx(resolve(images), IMAGE_DIMENSIONS),
        labels=open_idx(resolve(labels), LABEL_DIMENSIONS) if labels.exists() else None,
    )


def _open_named(
    open_rows: Callable[[str], Rows],
    images: str,
    labels: str | None,
    test_images: str | None,
    test_labels: str | None,
) -> RawDataset:
    """A source that names its arrays."""
    if test_labels and not test_images:
        raise StepError("Test labels are named without test images: name both")

    def open_split(images: str, labels: str | None) -> RawSplit:
        return RawSplit(open_rows(images), open_rows(labels) if labels else None)

    return RawDataset(
        images=open_split(images, labels),
        test=open_split(test_images, test_labels) if test_images else None,
    )


def _open_idx(source: IdxFolder, _stack: ExitStack) -> RawDataset:
    return open_idx_folder(allowed_path(source.idx_folder), allowed_path)


def _open_npz(source: NpzFile, _stack: ExitStack) -> RawDataset:
    path = allowed_path(source.npz_file)
    return _open_named(
        lambda name: open_npz(path, name),
        source.images_array,
        source.labels_array,
        source.test_images_array,
        source.test_labels_array,
    )


def _open_npy(source: NpyFiles, _stack: ExitStack) -> RawDataset:
    return _open_named(
        lambda name: open_npy(allowed_path(name)),
        source.images_file,
        source.labels_file,
        source.test_images_file,
        source.test_labels_file,
    )


def _open_hdf5(source: Hdf5File, stack: ExitStack) -> RawDataset:
    path = allowed_path(source.hdf5_file)
    return _open_named(
        lambda name: open_hdf5(path, name, stack),
        source.images_dataset,
        source.labels_dataset,
        source.test_images_dataset,
        source.test_labels_dataset,
    )


def _open_pictures(source: PictureFolder, _stack: ExitStack) -> RawDataset:
    folder = allowed_path(source.picture_folder)
    files = find_pictures(folder, data_root())
    classes = class_folders(folder, files)
    images = _picture_split(folder, files, classes)
    if source.test_picture_folder is None:
        return RawDataset(images, None, tuple(classes))
    test_folder = allowed_path(source.test_picture_folder)
    test = _picture_split(test_folder, find_pictures(test_folder, data_root()), classes)
    return RawDataset(images, test, tuple(classes))


def _picture_split(folder: Path, files: list[Path], classes: list[str]) -> RawSplit:
    return RawSplit(
        images=PictureRows(folder, files),
        labels=label_pictures(folder, files, classes) if classes else None,
    )


OPENERS: dict[type[Any], Callable[[Any, ExitStack], RawDataset]] = {
    IdxFolder: _open_idx,
    NpzFile: _open_npz,
    NpyFiles: _open_npy,
    Hdf5File: _open_hdf5,
    PictureFolder: _open_pictures,
}
