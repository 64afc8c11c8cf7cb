"""Sets that people try first, as their authors publish them, in miniature; and arrays of their own.

In all of them, image 0 is brightest at the top right, so that a transposed one is noticed.
"""

import gzip
import logging
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.errors import StepError
from tasks.images.dataset import fetch_images
from tasks.images.rows import RawDataset
from tests.conftest import read_all
from tests.tasks.images.test_sources import open_source, validate

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 255, (40, 28, 28), np.uint8)
IMAGES[0, 0, -1] = 255
COLOUR = GENERATOR.integers(0, 255, (40, 32, 32, 3), np.uint8)
LABELS = np.arange(40) % 10
TEST = slice(30, 40)
TRAIN = slice(0, 30)


def write_idx(path: Path, values: NDArray[Any], kind: int = 8) -> None:
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype({8: ">u1", 12: ">i4"}[kind]).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist(folder: Path) -> dict[str, Any]:
    for name, rows in (("train", TRAIN), ("t10k", TEST)):
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", IMAGES[rows])
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", LABELS[rows])
    return {"idx_folder": str(folder)}


def mnist_from_kaggle(folder: Path) -> dict[str, Any]:
    for name, rows in (("train", TRAIN), ("t10k", TEST)):
        for part, values in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            (folder / f"{name}-{part}-ubyte").mkdir()
            write_idx(folder / f"{name}-{part}-ubyte" / f"{name}-{part}-ubyte", values[rows])
            write_idx(folder / f"{name}-{part.replace('-', '.')}-ubyte", values[rows])
    return {"idx_folder": str(folder)}


def emnist_letters(folder: Path) -> dict[str, Any]:
    """Transposed, in a folder with other sets; its labels count from 1."""
    (folder / "gzip").mkdir()
    for letters in ("letters", "balanced"):
        for name, rows in (("train", TRAIN), ("test", TEST)):
            start = folder / "gzip" / f"emnist-{letters}-{name}"
            images = IMAGES[rows].transpose(0, 2, 1) if letters == "letters" else IMAGES[rows] // 2
            write_idx(Path(f"{start}-images-idx3-ubyte.gz"), images)
            write_idx(Path(f"{start}-labels-idx1-ubyte.gz"), LABELS[rows])
    return {"idx_folder": str(folder), "idx_prefix": "emnist-letters", "transpose": True}


def qmnist(folder: Path) -> dict[str, Any]:
    """Labels have eight columns: class, series, writer and so on."""
    for name, rows in (("train", TRAIN), ("test", TEST)):
        write_idx(folder / f"qmnist-{name}-images-idx3-ubyte.gz", IMAGES[rows])
        columns = np.column_stack([LABELS[rows], *[LABELS[rows] + 100] * 7])
        write_idx(folder / f"qmnist-{name}-labels-idx2-int.gz", columns, kind=12)
    return {"idx_folder": str(folder)}


def kmnist_npz(folder: Path) -> dict[str, Any]:
    """Four archives of one array without a name."""
    for name, rows in (("train", TRAIN), ("test", TEST)):
        np.savez_compressed(folder / f"kmnist-{name}-imgs.npz", IMAGES[rows])
        np.savez_compressed(folder / f"kmnist-{name}-labels.npz", LABELS[rows].astype(np.uint8))
    return {
        "images_file": str(folder / "kmnist-train-imgs.npz"),
        "labels_file": str(folder / "kmnist-train-labels.npz"),
        "test_images_file": str(folder / "kmnist-test-imgs.npz"),
        "test_labels_file": str(folder / "kmnist-test-labels.npz"),
    }


def medmnist(folder: Path) -> dict[str, Any]:
    splits = (("train", TRAIN), ("val", TEST), ("test", TEST))
    images: dict[str, Any] = {f"{name}_images": IMAGES[rows] for name, rows in splits}
    labels: dict[str, Any] = {
        f"{name}_labels": LABELS[rows, np.newaxis].astype(np.uint8) for name, rows in splits
    }
    np.savez_compressed(folder / "pneumoniamnist.npz", **images, **labels)
    return {"images_file": str(folder / "pneumoniamnist.npz")}


def keras_npz(folder: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {"x_train": IMAGES[TRAIN], "y_train": LABELS[TRAIN]}
    np.savez(folder / "mnist.npz", **arrays, x_test=IMAGES[TEST], y_test=LABELS[TEST])
    return {"npz_file": str(folder / "mnist.npz")}


def openml(folder: Path) -> dict[str, Any]:
    """As fetch_openml gives mnist_784: float rows of 784 values, text labels."""
    for name, rows in (("train", TRAIN), ("test", TEST)):
        np.save(folder / f"{name}-x.npy", IMAGES[rows].reshape(-1, 784).astype(np.float64))
        np.save(folder / f"{name}-y.npy", LABELS[rows].astype(str))
    paths = (f"{name}-{part}.npy" for name in ("train", "test") for part in "xy")
    fields = ("images_file", "labels_file", "test_images_file", "test_labels_file")
    files = dict(zip(fields, (str(folder / path) for path in paths), strict=True))
    return {**files, "image_shape": "28x28"}


def torch_arrays(folder: Path) -> dict[str, Any]:
    """Float images of 0 to 1 with a channel axis, one-hot labels."""
    images = (IMAGES[:, np.newaxis] / 255).astype(np.float32)
    np.savez(
        folder / "all.npz",
        train_x=images[TRAIN],
        train_y=np.eye(10)[LABELS[TRAIN]],
        test_x=images[TEST],
        test_y=np.eye(10)[LABELS[TEST]],
    )
    return {"images_file": str(folder / "all.npz")}


def matlab(folder: Path) -> dict[str, Any]:
    """Save -v7.3 of images (28, 28, N) and labels (N, 1): all axes are reversed in HDF5."""
    with h5py.File(folder / "set.mat", "w", userblock_size=512) as file:
        for name, rows in (("train", TRAIN), ("test", TEST)):
            file[f"{name}_images"] = IMAGES[rows].transpose(0, 2, 1)
            file[f"{name}_labels"] = LABELS[rows].astype(float)[np.newaxis]
        for dataset in file.values():
            kind = "double" if dataset.dtype.kind == "f" else "uint8"
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    return {"hdf5_file": str(folder / "set.mat")}


GREY_SETS = (
    *(mnist, mnist_from_kaggle, emnist_letters, qmnist, kmnist_npz, medmnist, keras_npz),
    *(openml, torch_arrays, matlab),
)


@pytest.mark.parametrize("write", GREY_SETS, ids=lambda write: write.__name__)
def test_a_set_is_read_as_its_author_meant_it(write: Any, tmp_path: Path) -> None:
    raw = open_source(write(tmp_path))
    scale = 255 if write is torch_arrays else 1
    check(raw, IMAGES[..., np.newaxis] if write is torch_arrays else IMAGES, scale)


def patch_camelyon(folder: Path) -> dict[str, Any]:
    """Four HDF5 files; labels have the shape (N, 1, 1, 1)."""
    fields = {}
    for name, prefix, rows in (("train", "", TRAIN), ("test", "test_", TEST)):
        start = f"camelyonpatch_level_2_split_{name}"
        for part, field, values in (("x", "images", COLOUR), ("y", "labels", LABELS)):
            path = folder / f"{start}_{part}.h5"
            with h5py.File(path, "w") as file:
                shaped = values if part == "x" else values.reshape(-1, 1, 1, 1)
                file.create_dataset(part, data=shaped[rows].astype("u1"), compression="gzip")
            fields[f"{prefix}{field}_file"] = str(path)
    return fields


def cifar_10_npz(folder: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {"x_train": COLOUR[TRAIN], "y_train": LABELS[TRAIN, np.newaxis]}
    test: dict[str, Any] = {"x_test": COLOUR[TEST], "y_test": LABELS[TEST, np.newaxis]}
    np.savez(folder / "cifar10.npz", **arrays, **test)
    return {"images_file": str(folder / "cifar10.npz")}


def cifar_10(folder: Path) -> dict[str, Any]:
    records = np.column_stack([LABELS, COLOUR.transpose(0, 3, 1, 2).reshape(40, -1)]).astype("u1")
    for batch in range(5):
        (folder / f"data_batch_{batch + 1}.bin").write_bytes(records[6 * batch :][:6].tobytes())
    (folder / "test_batch.bin").write_bytes(records[TEST].tobytes())
    return {"cifar_folder": str(folder)}


def channels_first(folder: Path) -> dict[str, Any]:
    with h5py.File(folder / "set.h5", "w") as file:
        for name, rows in (("train", TRAIN), ("test", TEST)):
            file[f"{name}/images"] = COLOUR[rows].transpose(0, 3, 1, 2)
            file[f"{name}/labels"] = LABELS[rows]
    return {"hdf5_file": str(folder / "set.h5")}


def fortran(folder: Path) -> dict[str, Any]:
    arrays = {
        "x": COLOUR[TRAIN],
        "y": LABELS[TRAIN],
        "x_test": COLOUR[TEST],
        "y_test": LABELS[TEST],
    }
    columns: dict[str, Any] = {name: np.asfortranarray(array) for name, array in arrays.items()}
    np.savez_compressed(folder / "set.npz", **columns)
    return {"images_file": str(folder / "set.npz")}


COLOUR_SETS = (patch_camelyon, cifar_10_npz, cifar_10, channels_first, fortran)


@pytest.mark.parametrize("write", COLOUR_SETS, ids=lambda write: write.__name__)
def test_a_set_in_colour_is_read_as_its_author_meant_it(write: Any, tmp_path: Path) -> None:
    check(open_source(write(tmp_path)), COLOUR)


def check(raw: RawDataset, images: NDArray[Any], scale: int = 1) -> None:
    assert raw.test is not None
    for split, rows in ((raw.train, TRAIN), (raw.test, TEST)):
        assert np.array_equal(np.rint(split.images.read() * scale), images[rows])
        assert np.array_equal(read_all(split.labels), LABELS[rows])


def test_what_was_found_is_said_and_what_is_not_used_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    raw = open_source(medmnist(tmp_path))
    assert (
        "pneumoniamnist.npz: train_images as images, train_labels as labels, test_images as test "
        "images, test_labels as test labels" in caplog.text
    )
    assert [kind.what for kind in raw.left_out] == ["val_images", "val_labels"]


def test_emnist_that_is_not_turned_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_source({**emnist_letters(tmp_path), "transpose": False})
    assert "--source.transpose turns them upright" in caplog.text


def test_another_column_of_labels_can_be_the_class(tmp_path: Path) -> None:
    raw = open_source({**qmnist(tmp_path), "label_column": 1})
    assert np.array_equal(read_all(raw.train.labels), LABELS[TRAIN] + 100)
    with pytest.raises(StepError, match="has 8 columns.* 8 as --source.label-column says"):
        open_source({**qmnist(tmp_path), "label_column": 8})


def test_text_labels_name_the_classes(tmp_path: Path) -> None:
    names = np.array(["boot", "coat", "shirt"])
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["images"] = IMAGES
        file.create_dataset("labels", data=names[LABELS % 3].tolist(), dtype=h5py.string_dtype())
    raw = open_source({"hdf5_file": str(tmp_path / "set.h5")})
    assert raw.class_names == ("boot", "coat", "shirt")
    assert np.array_equal(read_all(raw.train.labels), LABELS % 3)


def test_images_stacked_last_are_read_where_that_is_said(tmp_path: Path) -> None:
    """As 28 pictures of 28 x 600 they once trained without a word."""
    images = np.tile(IMAGES, (15, 1, 1))
    np.save(tmp_path / "images.npy", images.transpose(1, 2, 0))
    source = {"images_file": str(tmp_path / "images.npy")}
    with pytest.raises(StepError, match="Say so with --source.axes NHW or HWN"):
        open_source(source)
    assert np.array_equal(open_source({**source, "axes": "HWN"}).train.images.read(), images)


@pytest.mark.parametrize("field", ["labels_file", "test_images_file"])
def test_every_file_must_lie_beneath_the_data_root(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "images.npy", IMAGES)
    np.save(tmp_path / "other.npy", IMAGES)
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(tmp_path / "data"))
    source = {"images_file": str(tmp_path / "data/images.npy"), field: str(tmp_path / "other.npy")}
    with pytest.raises(StepError, match="is outside"):
        open_source(source)


def test_a_file_of_cifar_may_not_be_a_link_that_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    source = cifar_10(tmp_path / "data")
    (tmp_path / "data/test_batch.bin").rename(tmp_path / "secret")
    (tmp_path / "data/test_batch.bin").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(tmp_path / "data"))
    with pytest.raises(StepError, match="is outside"):
        open_source(source)


def test_a_set_is_stored_whatever_the_order_of_its_file(tmp_path: Path, root: Path) -> None:
    """The same digest: the same images in the same order."""
    np.save(tmp_path / "c.npy", COLOUR)
    np.save(tmp_path / "f.npy", np.asfortranarray(COLOUR))
    np.save(tmp_path / "planes.npy", COLOUR.transpose(0, 3, 1, 2))
    digests = {
        fetch_images("mine", validate({"images_file": str(path)}), root).payload_sha256
        for path in tmp_path.glob("*.npy")
    }
    assert len(digests) == 1
