import logging
import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.images.formats.picture_files import PictureFiles, Unused
from tasks.images.formats.picture_folders import (
    divide,
    find_classes,
    label_pictures,
    left_out,
    whole,
)
from tasks.images.rows import LeftOut
from tests.conftest import read_all


def files(*names: str, unused: tuple[Unused, ...] = ()) -> PictureFiles:
    """Pictures that are nowhere."""
    parts = sorted(tuple(name.split("/")) for name in names)
    return PictureFiles(Path("/data/set"), parts, {}, Counter(unused))


def divided(*names: str, has_test: bool = False) -> dict[str, list[str]]:
    splits = divide(files(*names), has_test)
    return {split: ["/".join(file) for file in found.files] for split, found in splits.items()}


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("1.png", "2.png"), ()),
        (("coat/winter/1.png", "boot/1.png"), ("boot", "coat")),
        (("archive/coat/1.png", "archive/boot/1.png"), ("boot", "coat")),
        (("a/b/coat/1.png", "a/b/boot/old/1.png"), ("boot", "coat")),
        (("only/1.png", "only/2.png"), ("only",)),
        (("train/1.png", "bus/1.png", "car/1.png"), ("bus", "car", "train")),
        (
            ("ブーツ/1.png", "معطف/1.png", "می\u200cروم/1.png"),
            ("معطف", "می\u200cروم", "ブーツ"),
        ),
    ],
)
def test_the_folders_are_the_classes(names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    splits = divide(files(*names), has_test=False)
    assert list(splits) == ["train"]
    assert find_classes(splits["train"]) == classes


def test_a_picture_beside_the_classes_is_named() -> None:
    train = divide(files("a/1.png", "b/1.png", "stray.png"), has_test=False)["train"]
    with pytest.raises(StepError, match=r"set/stray\.png is not in a sub-folder"):
        find_classes(train)


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        ("train test", "train", "test"),
        ("training testing", "training", "testing"),
        ("Train Test", "Train", "Test"),
        ("train val", "train", "val"),
        ("train valid", "train", "valid"),
        ("train validation test", "train validation", "test"),
        ("train dev test", "dev train", "test"),
        ("train", "train", ""),
    ],
)
@pytest.mark.parametrize("top", ["", "mnist_png/"])
def test_folders_of_splits_are_no_classes(
    top: str, folders: str, train: str, test: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As Hugging Face, torchvision, Keras and mnist_png lay them out."""
    caplog.set_level(logging.INFO)
    names = [f"{top}{split}/{name}/1.png" for split in folders.split() for name in "ab"]
    splits = divide(files(*names), has_test=False)
    assert find_classes(splits["train"]) == ("a", "b")
    expected = {"train": train.split(), "test": test.split()}
    assert {split: {"/".join(file) for file in found.files} for split, found in splits.items()} == {
        split: {name for name in names if name.split("/")[-3] in folders}
        for split, folders in expected.items()
        if folders
    }
    for split in splits:
        assert f"{split} images: the pictures in {', '.join(expected[split])} of " in caplog.text


def test_validation_pictures_train_where_test_pictures_are_elsewhere() -> None:
    names = ("train/a/1.png", "val/a/1.png")
    assert divided(*names, has_test=True) == {"train": list(names)}
    with pytest.raises(StepError, match="/data/set holds test pictures itself"):
        divided("train/a/1.png", "test/a/1.png", has_test=True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/1.png", "test/1.png", "bus/1.png"), "holds test, train beside bus. If these"),
        (("train/1.png", "test/1.png", "1.png"), "holds test, train beside pictures. If these"),
        (("test/a/1.png", "val/a/1.png"), "holds test, val, but no training pictures"),
        (("test/a/1.png", "test/b/1.png"), "holds test, but no training pictures"),
    ],
)
def test_what_may_be_splits_or_classes_is_asked_for(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(StepError, match=message) as refusal:
        divided(*names)
    assert "--source.picture-folder /data/set/t" in str(refusal.value)


def test_test_pictures_without_classes_have_no_labels() -> None:
    """As Kaggle's competitions hand them out."""
    splits = divide(files("train/a/1.png", "train/b/1.png", "test/1.png"), has_test=False)
    classes = find_classes(splits["train"])
    assert read_all(label_pictures(splits["train"], classes)).tolist() == [0, 1]
    assert label_pictures(splits["test"], classes) is None


def test_classes_are_matched_by_name() -> None:
    classes = ("boot", "coat", "shirt")
    assert read_all(label_pictures(whole(files("shirt/1.png"), classes), classes)).tolist() == [2]
    within = whole(files("shirt/new/1.png"), classes)
    assert read_all(label_pictures(within, classes)).tolist() == [2]
    packed = whole(files("test/coat/1.png", "test/boot/1.png"), classes)
    assert read_all(label_pictures(packed, classes)).tolist() == [0, 1]
    with pytest.raises(StepError, match=r"sock/1\.png is in none of the classes boot, coat, shirt"):
        label_pictures(whole(files("sock/1.png"), classes), classes)


def test_a_message_names_few_of_many_classes() -> None:
    classes = tuple(f"c{number:04}" for number in range(2000))
    with pytest.raises(StepError, match="c0008, c0009 and 1990 more: the training"):
        label_pictures(whole(files("sock/1.png"), classes), classes)


def test_accents_may_be_spelt_in_two_ways() -> None:
    """Names of files have decomposed letters on macOS, composed ones elsewhere."""
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    train = divide(files(f"{names[0]}/1.png", f"{names[1]}/2.png", "a/1.png"), False)["train"]
    assert find_classes(train) == ("a", names[0])


def test_a_class_whose_name_is_no_text_gets_one() -> None:
    train = divide(files(os.fsdecode(b"caf\xe9/1.png"), "a\nb/1.png"), False)["train"]
    assert find_classes(train) == (r"a\nb", r"caf\xe9")


def test_what_is_left_out_is_named_by_class() -> None:
    unused = (
        Unused("no pictures", ".txt", ("archive", "train", "boot", "old")),
        Unused("no pictures", ".txt", ("archive", "train", "boot")),
        Unused("hidden", ".DS_Store", ("archive",)),
        Unused("service folders", "__MACOSX", ()),
    )
    found = files("archive/train/boot/1.png", "archive/test/boot/1.png", unused=unused)
    assert left_out(found, divide(found, has_test=False)["train"]) == {
        LeftOut("no pictures", ".txt", "train/boot"): 2,
        LeftOut("hidden", ".DS_Store"): 1,
        LeftOut("service folders", "__MACOSX"): 1,
    }
