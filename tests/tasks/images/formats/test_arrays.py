import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tasks.core.errors import StepError
from tasks.images.arrays.stored import ArrayFile
from tasks.images.formats.arrays import PARTS, Choice, find_parts, open_array_file

IMAGES = np.zeros((3, 4, 5), np.uint8)
LABELS = np.arange(3)


def save(path: Path, *names: str) -> Path:
    """An archive of images and labels with these names."""
    arrays: dict[str, Any] = {
        name: IMAGES if any(w in name.lower() for w in "xid") else LABELS for name in names
    }
    np.savez(path, **arrays)
    return path


def choose(images: Path, name: str | None = None, **others: Any) -> dict[str, str]:
    """The names that are found, by part."""
    choices = {part: others.get(part, Choice()) for part in PARTS}
    places = find_parts(choices | {"images": Choice(images, name)})
    return {part: place.name for part, place in places.items()}


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),  # Keras
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
        ("images", "labels", "test_images", "test_labels"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("data", "target"),  # scikit-learn
        ("x", "y"),
        ("arr_0", "arr_1"),  # np.savez without names
        ("images",),
    ],
    ids=" ".join,
)
def test_usual_names_are_found(names: tuple[str, ...], tmp_path: Path) -> None:
    path = save(tmp_path / "all.npz", *reversed(names), "val_images", "meta")
    assert choose(path) == dict(zip(PARTS, names, strict=False))


def test_names_of_groups_count_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/images"], file[f"{split}/labels"] = IMAGES, LABELS
    assert choose(tmp_path / "all.h5") == {
        "images": "train/images",
        "labels": "train/labels",
        "test_images": "test/images",
        "test_labels": "test/labels",
    }


def test_a_name_that_says_training_goes_before_one_that_does_not(tmp_path: Path) -> None:
    assert choose(save(tmp_path / "all.npz", "x", "x_train")) == {"images": "x_train"}


def test_what_could_be_several_arrays_is_asked_for_with_shapes(tmp_path: Path) -> None:
    path = save(tmp_path / "all.npz", "images", "data")
    with pytest.raises(
        StepError,
        match=r"several arrays that could be the images, images \(3x4x5\), data \(3x4x5\): name "
        "one with --source.images-array",
    ):
        choose(path)
    assert choose(path, "data") == {"images": "data"}


def test_what_has_no_usual_name_is_asked_for_with_shapes(tmp_path: Path) -> None:
    path = save(tmp_path / "all.npz", "dogs", "kennels")
    with pytest.raises(
        StepError, match=r"no array with a usual name of images, but dogs \(3x4x5\), kennels \(3\)"
    ):
        choose(path)
    assert choose(save(tmp_path / "one.npz", "dogs")) == {"images": "dogs"}


def test_where_images_are_named_nothing_else_is_searched_for(tmp_path: Path) -> None:
    path = save(tmp_path / "all.npz", "x_train", "y_train", "x_test", "y_test")
    assert choose(path, "x_train") == {"images": "x_train"}
    found = choose(path, "x_train", labels=Choice(name="y_test"))
    assert found == {"images": "x_train", "labels": "y_test"}


def test_each_part_may_have_its_own_file(tmp_path: Path) -> None:
    """As PatchCamelyon: one dataset in each file, named x or y."""
    paths = {}
    for part in PARTS:
        paths[part] = tmp_path / f"{part}.h5"
        with h5py.File(paths[part], "w") as file:
            file["y" if "labels" in part else "x"] = LABELS if "labels" in part else IMAGES
    others: dict[str, Any] = {
        part: Choice(path) for part, path in paths.items() if part != "images"
    }
    assert list(choose(paths["images"], **others).values()) == ["x", "y", "x", "y"]


def test_a_file_of_test_images_may_have_their_labels(tmp_path: Path) -> None:
    train, test = save(tmp_path / "a.npz", "x", "y"), save(tmp_path / "b.npz", "x", "y")
    found = choose(train, test_images=Choice(test))
    assert list(found.values()) == ["x", "y", "x", "y"]


def test_files_of_different_formats_go_together(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    labels = save(tmp_path / "labels.npz", "y")
    assert choose(tmp_path / "images.npy", labels=Choice(labels)) == {"images": "", "labels": "y"}
    with pytest.raises(StepError, match="whose one array has no name: leave out --source.images-a"):
        choose(tmp_path / "images.npy", "x")


def test_test_labels_without_test_images_are_not_read(tmp_path: Path) -> None:
    assert choose(save(tmp_path / "all.npz", "x_train", "y_test")) == {"images": "x_train"}


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_the_format_is_told_by_the_first_bytes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.dat"
    with path.open("wb") as file:
        if kind == "npy":
            np.save(file, IMAGES)
        elif kind == "npz":
            np.savez(file, images=IMAGES)
        else:
            with h5py.File(file, "w") as hdf5:
                hdf5["images"] = IMAGES
    found: ArrayFile = open_array_file(path)
    assert found.shapes == {"" if kind == "npy" else "images": (3, 4, 5)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"\x89HDF\r\n\x1a\n", mtime=0), "is gzipped: unpack it with gunzip"),
        (b"\x80\x04\x95", "is a pickle of Python, which is code: save the arrays with np.savez"),
        (b"MATLAB 5.0 MAT-file, Platform", "is a MATLAB file of an old version: save it with -v7"),
        (b"<!DOCTYPE html>", "is a page of HTML"),
        (b"", "starts with nothing, expected an .npy, .npz or HDF5 file"),
        (b"\x89PNG", "starts with 89504e47, expected"),
    ],
)
def test_another_file_is_refused_with_what_to_do(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "images.h5").write_bytes(content)
    with pytest.raises(StepError, match=rf"images\.h5 {reason}"):
        open_array_file(tmp_path / "images.h5")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"is a folder, expected an \.npy, \.npz or HDF5 file"):
        open_array_file(tmp_path)
    with pytest.raises(StepError, match="absent is missing: place the file there"):
        open_array_file(tmp_path / "absent")
