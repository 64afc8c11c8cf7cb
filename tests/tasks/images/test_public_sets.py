"""Miniatures of public sets, each in its own format, are read by the flags of docs/sources.md."""

import gzip
import os
import re
import shlex
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flows.retrain import retrain
from flows.terminal.flags import parse
from tasks.images.dataset import fetch_dataset
from tasks.images.store import open_images, open_labels
from tasks.parameters.retrain import Parameters

DOCUMENT = Path(__file__).parents[3] / "docs" / "sources.md"
LINE = re.compile(r"^\| (?P<name>[^|]+) \| `(?P<flags>--dataset [^`]+)` \|$", re.MULTILINE)
FLAGS = {found["name"]: found["flags"] for found in LINE.finditer(DOCUMENT.read_text())}
DIGITS = tuple("0123456789")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
Images = NDArray[Any]


class Expected(NamedTuple):
    """What the makers of a set would expect of each split, in the order of its files."""

    train: Images
    train_classes: list[str]
    test: Images | None
    """None where the set has no test images of its own."""
    test_classes: list[str]


class Labelled(NamedTuple):
    images: Images
    labels: NDArray[np.int64]

    def named(self, names: tuple[str, ...]) -> list[str]:
        return [names[label] for label in self.labels]


def draw(count: int, *shape: int, classes: int = 10, seed: int = 0) -> Labelled:
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Labelled(images, np.arange(count) % classes)


def expect(train: Labelled, test: Labelled, names: tuple[str, ...]) -> Expected:
    return Expected(train.images, train.named(names), test.images, test.named(names))


def write_idx(path: Path, array: NDArray[Any]) -> None:
    kind = {"u1": 8, "i4": 12}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, suffix: str = ".gz") -> Expected:
    train, test = draw(12, 28, 28), draw(6, 28, 28, seed=1)
    for prefix, split in (("train", train), ("t10k", test)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", split.images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", split.labels.astype(np.uint8))
    return expect(train, test, DIGITS)


def write_emnist(folder: Path) -> Expected:
    """Labels count from 1, images are transposed; the other sets lie in the same folder."""
    train, test = draw(52, 28, 28, classes=26), draw(26, 28, 28, classes=26, seed=1)
    for name, first in (("letters", 1), ("digits", 0), ("mnist", 0)):
        for part, split in (("train", train), ("test", test)):
            stem = folder / f"emnist-{name}-{part}"
            images = split.images if name == "letters" else split.images[::-1]
            labels = (split.labels + first).astype(np.uint8)
            write_idx(Path(f"{stem}-images-idx3-ubyte.gz"), images.transpose(0, 2, 1))
            write_idx(Path(f"{stem}-labels-idx1-ubyte.gz"), labels)
        (folder / f"emnist-{name}-mapping.txt").write_text("1 65 97\n2 66 98\n")
    return expect(train, test, LETTERS)


def write_qmnist(folder: Path) -> Expected:
    """The first of eight columns of labels is the class."""
    train, test = draw(12, 28, 28), draw(6, 28, 28, seed=1)
    for part, split in (("train", train), ("test", test)):
        table = np.arange(8 * len(split.labels), dtype=np.int32).reshape(-1, 8)
        table[:, 0] = split.labels
        write_idx(folder / f"qmnist-{part}-images-idx3-ubyte.gz", split.images)
        write_idx(folder / f"qmnist-{part}-labels-idx2-int.gz", table)
    return expect(train, test, DIGITS)


def write_keras_archive(file: Path) -> Expected:
    train, test = draw(12, 28, 28), draw(6, 28, 28, seed=1)
    np.savez(
        file,
        x_test=test.images,
        x_train=train.images,
        y_train=train.labels.astype(np.uint8),
        y_test=test.labels.astype(np.uint8),
    )
    return expect(train, test, DIGITS)


def write_medmnist(file: Path) -> Expected:
    train, test, held = (draw(18, 28, 28, 3, classes=9, seed=seed) for seed in range(3))
    arrays: dict[str, NDArray[Any]] = {}
    for part, split in (("train", train), ("val", held), ("test", test)):
        arrays[f"{part}_images"] = split.images
        arrays[f"{part}_labels"] = split.labels[:, np.newaxis].astype(np.uint8)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub has a flag among them
    return expect(train, test, DIGITS)


CIFAR_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def write_cifar(folder: Path) -> Expected:
    folder.mkdir()
    train, test = draw(50, 32, 32, 3), draw(10, 32, 32, 3, seed=1)
    planes = [split.images.transpose(0, 3, 1, 2).reshape(-1, 3072) for split in (train, test)]
    records = [
        np.concatenate([split.labels[:, np.newaxis].astype(np.uint8), plane], axis=1)
        for split, plane in zip((train, test), planes, strict=True)
    ]
    for number in range(5):
        part = records[0][10 * number : 10 * number + 10]
        (folder / f"data_batch_{number + 1}.bin").write_bytes(part.tobytes())
    (folder / "test_batch.bin").write_bytes(records[1].tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_NAMES) + "\n\n")
    (folder / "readme.html").write_text("<html></html>")
    return expect(train, test, CIFAR_NAMES)


def write_cifar_archive(file: Path) -> Expected:
    """As people save what keras.datasets.cifar10 gives: labels are (N, 1)."""
    train, test = draw(20, 32, 32, 3), draw(10, 32, 32, 3, seed=1)
    np.savez(
        file,
        x_train=train.images,
        y_train=train.labels[:, np.newaxis].astype(np.uint8),
        x_test=test.images,
        y_test=test.labels[:, np.newaxis],
    )
    return expect(train, test, DIGITS)


def write_patches(folder: Path) -> Expected:
    folder.mkdir()
    splits = [draw(6, 96, 96, 3, classes=2, seed=seed) for seed in range(3)]
    for part, split in zip(("train", "test", "valid"), splits, strict=True):
        stem = folder / f"camelyonpatch_level_2_split_{part}"
        with h5py.File(f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=split.images, chunks=(2, 96, 96, 3), compression="gzip")
        with h5py.File(f"{stem}_y.h5", "w") as file:
            file["y"] = split.labels.reshape(-1, 1, 1, 1).astype(np.uint8)
    return expect(splits[0], splits[1], DIGITS)


def write_pictures(folder: Path, split: Labelled, names: tuple[str, ...], suffix: str) -> Expected:
    """A sub-folder for each class; the files' order is that of names, then of images."""
    order = np.argsort(split.labels, kind="stable")
    for row in order:
        target = folder / names[split.labels[row]] / f"picture-{row:03}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.images[row]).save(target)
    ordered = Labelled(split.images[order], split.labels[order])
    return Expected(ordered.images, ordered.named(names), None, [])


def write_notmnist(folder: Path) -> Expected:
    """Two files of the real set are no pictures."""
    found = write_pictures(folder, draw(30, 28, 28), tuple("ABCDEFGHIJ"), ".png")
    for damaged in ("A/RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png", "F/Q3Jvc3NvdmVy.png"):
        (folder / damaged).write_bytes(b"")
        os.utime(folder / damaged, (0, 0))  # not one that is still being copied
    return found


def write_imagefolder(folder: Path) -> Expected:
    """Splits are folders; the card and the metadata of the set lie beside them."""
    train, test = draw(8, 6, 5, 3, classes=2), draw(4, 6, 5, 3, classes=2, seed=1)
    names = ("cat", "dog")
    trained = write_pictures(folder / "train", train, names, ".png")
    tested = write_pictures(folder / "test", test, names, ".png")
    (folder / "README.md").write_text("# Pets")
    (folder / "train" / "metadata.csv").write_text("file_name,text\ncat/picture-000.png,a cat\n")
    return trained._replace(test=tested.train, test_classes=tested.train_classes)


def write_uniform(folder: Path, suffixes: tuple[str, str]) -> Expected:
    """Pictures of two sizes, each of one colour, which no resizing changes."""
    colours = draw(8, 1, 1, 3, classes=2)
    for row, colour in enumerate(colours.images):
        size = (70, 40) if row % 3 else (30, 50)
        target = folder / "ab"[row % 2] / f"picture-{row}{suffixes[row % 2]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.broadcast_to(colour, (*size, 3))).save(target)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    images = np.broadcast_to(colours.images[order], (8, 64, 64, 3))
    return Expected(images, list("aaaabbbb"), None, [])


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    "MNIST, IDX files": lambda data: write_mnist(data / "mnist"),
    "MNIST, `mnist.npz` of Keras": lambda data: write_keras_archive(data / "mnist.npz"),
    "EMNIST, letters (labels from 1)": lambda data: write_emnist(data / "gzip"),
    "KMNIST": lambda data: write_mnist(data / "kmnist"),
    "QMNIST (labels with eight columns: the first is the class)": lambda data: write_qmnist(
        data / "qmnist"
    ),
    "notMNIST (two of its files are damaged)": lambda data: write_notmnist(data / "notMNIST_small"),
    "MedMNIST": lambda data: write_medmnist(data / "pathmnist.npz"),
    "CIFAR-10, binary version": lambda data: write_cifar(data / "cifar-10-batches-bin"),
    "CIFAR-10 in an `.npz` file": lambda data: write_cifar_archive(data / "cifar10.npz"),
    "PatchCamelyon, after `gunzip`": lambda data: write_patches(data / "pcam"),
    "Hugging Face's imagefolder": lambda data: write_imagefolder(data / "pets"),
    "torchvision's ImageFolder": lambda data: write_uniform(data / "animals", (".png", ".bmp")),
    "Keras's image_dataset_from_directory": lambda data: write_uniform(
        data / "main_directory", (".bmp", ".png")
    ),
}


def test_the_document_has_a_line_for_each_set() -> None:
    assert set(FLAGS) == set(MINIATURES)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_public_set_is_read_by_the_documented_flags(
    name: str, tmp_path: Path, root: Path
) -> None:
    expected = MINIATURES[name](tmp_path)
    flags = [word.replace("/data/", f"{tmp_path}/") for word in shlex.split(FLAGS[name])]
    arguments = dict(parse(retrain, Parameters, flags).data)
    record = fetch_dataset(arguments.pop("dataset"), arguments.pop("source"), root, **arguments)

    def read(split: Any) -> tuple[Images, list[str]]:
        labels = open_labels(record, split, root)
        assert labels is not None
        return open_images(record, split, root), [record.class_names[label] for label in labels]

    train, train_classes = read("train")
    test, test_classes = read("test")
    if expected.test is None:  # drawn from the training images
        together = {image.tobytes(): name for image, name in zip(train, train_classes, strict=True)}
        together |= {image.tobytes(): name for image, name in zip(test, test_classes, strict=True)}
        assert together == {
            image.tobytes(): name
            for image, name in zip(expected.train, expected.train_classes, strict=True)
        }
        assert len(train) + len(test) == len(expected.train)
        return
    assert np.array_equal(train, expected.train)
    assert np.array_equal(test, expected.test)
    assert (train_classes, test_classes) == (expected.train_classes, expected.test_classes)
