"""What the sub-folders of a folder of pictures are: splits, classes, or parts of a class."""

import logging
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.formats.errors import shown
from tasks.images.formats.picture_files import Parts, PictureFiles, path_of
from tasks.images.rows import ArrayRows, LeftOut, Rows

logger = logging.getLogger(__name__)

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
"""What a folder of such a name holds, in lower case."""
SHOWN_CLASSES = 10
"""Classes that a message names, at most."""


class SplitFiles(NamedTuple):
    """The pictures of a split."""

    folder: Path
    files: list[Parts]
    depth: int
    """Folders on the way to each file before that of its class."""
    shared: int
    """Those of them that all files of the folder share."""

    def paths(self) -> list[str]:
        """The path of each picture."""
        return [path_of(self.folder, file) for file in self.files]

    def class_of(self, file: Parts) -> str:
        """The name of a picture's class; empty if it lies in no folder of a class."""
        return class_name(_folder_at(file, self.depth))


def class_name(folder: str) -> str:
    """The name of a folder as that of a class: macOS and others spell accents in two ways."""
    return unicodedata.normalize("NFC", shown(folder))


def divide(found: PictureFiles, has_test: bool) -> dict[Split, SplitFiles]:
    """The training pictures and, if there are folders of splits, the test pictures.

    Validation pictures are the test pictures if there are no others, else training pictures.

    Args:
        has_test: whether test pictures are in another folder.
    """
    prefix = _common_folders(found.files, _is_split)
    top = found.folder.joinpath(*prefix)
    names = {_folder_at(file, len(prefix)) for file in found.files}
    if not _are_splits(top, names):
        if prefix:
            logger.info("The classes are the folders in %s", shown(top))
        return {"train": SplitFiles(found.folder, found.files, len(prefix), len(prefix))}
    testing = set() if has_test else _test_folders(names)
    if has_test and _holding("test", names):
        raise StepError(
            f"{shown(top)} holds test pictures itself: name its folder of training pictures with "
            "--source.picture-folder, or no test pictures"
        )
    chosen: dict[Split, set[str]] = {"train": names - testing}
    if testing:
        chosen["test"] = testing
    for split, folders in chosen.items():
        logger.info("%s images: the pictures in %s of %s", split, _list(folders), shown(top))
    return {
        split: SplitFiles(
            found.folder,
            [file for file in found.files if file[len(prefix)] in folders],
            len(prefix) + 1,
            len(prefix),
        )
        for split, folders in chosen.items()
    }


def whole(found: PictureFiles, classes: tuple[str, ...]) -> SplitFiles:
    """All pictures of a folder, for the classes of another one."""
    depth = len(_common_folders(found.files, lambda name: class_name(name) in classes))
    return SplitFiles(found.folder, found.files, depth, depth)


def _common_folders(files: list[Parts], matters: Callable[[str], bool]) -> Parts:
    """The folders that hold nothing but a folder of folders, as archives are often packed.

    Args:
        matters: whether the name of a folder says what it is.
    """
    first, depth = files[0], 0
    while (
        len(first) > depth + 2
        and not matters(first[depth])
        and all(len(file) > depth + 2 and file[depth] == first[depth] for file in files)
    ):
        depth += 1
    return first[:depth]


def _is_split(folder: str) -> bool:
    return folder.lower() in SPLIT_FOLDERS


def _folder_at(file: Parts, depth: int) -> str:
    return file[depth] if len(file) > depth + 1 else ""


def _holding(kind: str, names: set[str]) -> set[str]:
    """Which folders hold training, test or validation pictures, by their names."""
    return {name for name in names if SPLIT_FOLDERS.get(name.lower()) == kind}


def _test_folders(names: set[str]) -> set[str]:
    return _holding("test", names) or _holding("validation", names)


def _are_splits(top: Path, names: set[str]) -> bool:
    """Whether folders are splits; refuse what might be splits or classes."""
    splits = {name for name in names if _is_split(name)}
    training, others = _holding("train", names), names - splits
    if not splits or (others and len(splits) == 1):  # a single one is a class among others
        return False
    if training and not others:
        return True
    example = shown(top / min(training or splits))
    beside = f" beside {_list(others)}" if others else ", but no training pictures"
    raise StepError(
        f"{shown(top)} holds {_list(splits)}{beside}. If these are splits, name one with "
        f"--source.picture-folder {example}, and test pictures with --source.test-picture-folder; "
        "if they are classes, rename them"
    )


def _list(names: set[str]) -> str:
    """Names of folders, the first of them; pictures that are in none come first."""
    listed = [shown(name) if name else "pictures" for name in sorted(names)]
    more = len(listed) - SHOWN_CLASSES
    return ", ".join(listed[:SHOWN_CLASSES]) + (f" and {more} more" if more > 0 else "")


def find_classes(split: SplitFiles) -> tuple[str, ...]:
    """The names of the folders that hold the pictures, sorted; empty if there are none."""
    names = {split.class_of(file) for file in split.files}
    if "" in names and len(names) > 1:
        stray = next(file for file in split.files if not split.class_of(file))
        raise StepError(
            f"{shown(path_of(split.folder, stray))} is not in a sub-folder, others are: give each "
            "a class, or none"
        )
    return tuple(sorted(names - {""}))


def label_pictures(split: SplitFiles, classes: tuple[str, ...]) -> Rows | None:
    """The class of each picture, (N,) int64, by position in `classes`; None without classes.

    Raises:
        StepError: a picture is in another class.
    """
    if not classes or not find_classes(split):
        return None
    positions = {name: position for position, name in enumerate(classes)}
    labels = np.empty(len(split.files), np.int64)
    for row, file in enumerate(split.files):
        name = split.class_of(file)
        if name not in positions:
            raise StepError(
                f"{shown(path_of(split.folder, file))} is in none of the classes "
                f"{_list(set(classes))}: the training pictures have none of its class"
            )
        labels[row] = positions[name]
    return ArrayRows(shown(split.folder), labels)


def left_out(found: PictureFiles, split: SplitFiles) -> Counter[LeftOut]:
    """What is not used, by the class that it lies in, or the split and the class."""
    counted: Counter[LeftOut] = Counter()
    for unused, count in found.unused.items():
        place = unused.folder[split.shared : split.depth + 1]
        counted[LeftOut(unused.reason, shown(unused.what), "/".join(map(class_name, place)))] += (
            count
        )
    return counted
