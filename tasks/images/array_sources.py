"""Sources of arrays: files of NumPy and HDF5, of the MNIST family and of CIFAR."""

import logging

from pydantic import AliasChoices

from tasks.core.form import parameter
from tasks.images.arrays.labels import choose_column, count_labels, open_labels, read_classes
from tasks.images.arrays.layout import Axes, Wanted, lay_out_images
from tasks.images.arrays.stored import StoredArray
from tasks.images.arrays.views import transpose_rows
from tasks.images.described import HOLD_OUT, IF_ANY, Source, allowed_path
from tasks.images.formats.arrays import PARTS, Choice, Place, find_parts
from tasks.images.formats.cifar import Level, cifar_paths, open_cifar
from tasks.images.formats.errors import shown
from tasks.images.formats.idx import find_idx_files, open_idx_files
from tasks.images.rows import LeftOut, RawDataset, RawSplit, Rows

logger = logging.getLogger(__name__)


class IdxFolder(Source, title="Folder of IDX files"):
    """The files of MNIST and its relatives, gzipped or not."""

    idx_folder: str = parameter(
        ...,
        "Folder of IDX files",
        "Holds train-images-idx3-ubyte and, if there are any, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or files of similar names; gzipped or "
        "not",
    )
    idx_prefix: str | None = parameter(
        None,
        "Set",
        "What the names of its files begin with, where the folder has several: emnist-letters",
    )
    label_column: int = parameter(
        0, "Column of labels", "Which one is the class, where labels have several", ge=0
    )
    transpose: bool = parameter(
        False, "Transpose", "Swap height and width of each image: EMNIST stores them so"
    )

    def open(self) -> RawDataset:
        """Open the training images, and whichever of the other files exist."""
        folder = allowed_path(self.idx_folder)
        found = find_idx_files(folder, self.idx_prefix)
        for path in found.files.values():
            allowed_path(path)  # a link may lead out of the folder
        raw = open_idx_files(found.files)
        if found.prefix.lower().startswith("emnist") and not self.transpose:
            logger.warning("EMNIST stores images transposed: --source.transpose turns them upright")
        classes = read_classes(*(self._column(split) for split in (raw.train, raw.test)))
        return RawDataset(
            RawSplit(self._turn(raw.train.images), classes.train),
            raw.test and RawSplit(self._turn(raw.test.images), classes.test),
            left_out=found.left_out,
        )

    def _column(self, split: RawSplit | None) -> Rows | None:
        labels = split.labels if split else None
        return labels and choose_column(labels, self.label_column, "--source.label-column")

    def _turn(self, images: Rows) -> Rows:
        axes = (0, 2, 1, *range(3, len(images.shape)))
        return transpose_rows(images, axes) if self.transpose else images


class ArrayFiles(Source, title="Array files (NumPy .npy, .npz; HDF5)"):
    """Arrays of NumPy and HDF5 files; MATLAB's .mat of version 7.3 are HDF5.

    The names of arrays are found by themselves where they are usual ones.
    """

    images_file: str = parameter(
        ...,
        "File of images",
        "Path of an .npy, .npz or HDF5 file; it may have the labels and the test images too",
        validation_alias=AliasChoices("images_file", "npz_file", "hdf5_file"),
    )
    images_array: str | None = parameter(
        None,
        "Array of images",
        "Its name in the file; empty: found by usual names, such as x_train or images, and with it "
        "labels and test images. If named, only what is named is read",
        validation_alias=AliasChoices("images_array", "images_dataset"),
    )
    labels_file: str | None = parameter(None, "File of labels", "Its path, if it is another file")
    labels_array: str | None = parameter(
        None,
        "Array of labels",
        f"Its name in the file, {IF_ANY}",
        validation_alias=AliasChoices("labels_array", "labels_dataset"),
    )
    test_images_file: str | None = parameter(
        None, "File of test images", f"Its path, if it is another file; {HOLD_OUT}"
    )
    test_images_array: str | None = parameter(
        None,
        "Array of test images",
        f"Its name in the file; {HOLD_OUT}",
        validation_alias=AliasChoices("test_images_array", "test_images_dataset"),
    )
    test_labels_file: str | None = parameter(
        None, "File of test labels", "Its path, if it is another file"
    )
    test_labels_array: str | None = parameter(
        None,
        "Array of test labels",
        f"Its name in the file, {IF_ANY}",
        validation_alias=AliasChoices("test_labels_array", "test_labels_dataset"),
    )
    axes: Axes | None = parameter(
        None,
        "Axes",
        "Their order, where the images are not NHW or NHWC: N images, H height, W width, C colours",
    )
    image_shape: str | None = parameter(
        None,
        "Image shape",
        "Height x width, in colour x 3, such as 28x28, where each image is one row of values",
        pattern=r"^[1-9]\d{0,6}x[1-9]\d{0,6}(x[13])?$",
    )

    def open(self) -> RawDataset:
        """Open the arrays that are named or found; say which."""
        places = find_parts({part: self._choice(part) for part in PARTS})
        arrays = {part: place.file.open_array(place.name) for part, place in places.items()}
        classes = read_classes(*(_open_labels(arrays, part) for part in ("labels", "test_labels")))
        test = None
        if "test_images" in arrays:
            test = RawSplit(self._lay_out(arrays, "test_"), classes.test)
        return RawDataset(
            RawSplit(self._lay_out(arrays, ""), classes.train),
            test,
            classes.names,
            _name_arrays(places),
        )

    def _choice(self, part: str) -> Choice:
        path = getattr(self, f"{part}_file")
        return Choice(path and allowed_path(path), getattr(self, f"{part}_array"))

    def _lay_out(self, arrays: dict[str, StoredArray], prefix: str) -> Rows:
        size = tuple(map(int, self.image_shape.split("x"))) if self.image_shape else None
        labels = arrays.get(f"{prefix}labels")
        count = count_labels(labels) if labels else None
        return lay_out_images(arrays[f"{prefix}images"], Wanted(self.axes, size), count)


def _open_labels(arrays: dict[str, StoredArray], part: str) -> Rows | None:
    return open_labels(arrays[part]) if part in arrays else None


def _name_arrays(places: dict[str, Place]) -> dict[LeftOut, int]:
    """Say which arrays are read; return those that are not."""
    files = {place.file.path: place.file for place in places.values()}
    left_out: dict[LeftOut, int] = {}
    for path, file in files.items():
        read = {place.name: part for part, place in places.items() if place.file.path == path}
        named = [f"{name} as {part.replace('_', ' ')}" for name, part in read.items() if name]
        if named:
            logger.info("Read from %s: %s", path, ", ".join(named))
        unused = [name for name in file.shapes if name not in read]
        left_out |= {LeftOut(f"not used of {shown(path.name)}", shown(name)): 1 for name in unused}
    return left_out


class CifarFolder(Source, title="Folder of CIFAR (binary version)"):
    """CIFAR-10 or CIFAR-100 as its authors publish it for C programs."""

    cifar_folder: str = parameter(
        ..., "Folder of CIFAR", "cifar-10-batches-bin or cifar-100-binary, unpacked"
    )
    cifar_labels: Level = parameter(
        "fine", "Labels of CIFAR-100", "The 100 fine or the 20 coarse classes"
    )

    def open(self) -> RawDataset:
        """Open all files of the set."""
        folder = allowed_path(self.cifar_folder)
        for path in cifar_paths(folder):
            allowed_path(path)  # a link may lead out of the folder
        return open_cifar(folder, self.cifar_labels)
