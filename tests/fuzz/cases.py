"""A damaged file is read as a run and as an inspection would, and both must agree."""

import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from pydantic import TypeAdapter

from tasks.core.errors import StepError, TransientError
from tasks.images.checks import check_counts
from tasks.images.dataset import draw_test_images, inspect_source
from tasks.images.inspection import describe_dataset, inspect
from tasks.images.sources import AnySource
from tests.fuzz.miniatures import COLOURED, LABELS, MINIATURES, _idx, _picture
from tests.fuzz.mutations import mutate

READ, REFUSED, WAITS = "read", "refused", "to be tried again"
LONGEST_LINE = 2000
TEST_SHARE, SPLIT_SEED = 0.3, 0
SOURCES: TypeAdapter[Any] = TypeAdapter(AnySource)


class Finding(Exception):  # noqa: N818 - it is one of the fuzzer, not of what is tested
    """A file was not read, but not refused in one line either."""


def damaged_file(kind: str, number: int) -> bytes:
    """The content of a damaged file, always the same for a number."""
    random = Random(f"{kind} {number}")  # noqa: S311 - nothing secret depends on it
    miniature = random.choice(MINIATURES[kind])
    others = [other.content for other in MINIATURES[kind]]
    return miniature.finish(mutate(miniature.content, others, random))


def write_source(kind: str, content: bytes, folder: Path) -> dict[str, str]:
    """Put a damaged file into a source; return the source's fields."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind == "idx":
        (folder / "train-images-idx3-ubyte").write_bytes(content)
        (folder / "train-labels-idx1-ubyte").write_bytes(_idx(LABELS.astype("u1")))
        return {"idx_folder": str(folder)}
    if kind in ("png", "jpeg"):
        for name in ("a/1.png", "a/2.png", "b/3.png"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(
                _picture(COLOURED[int(path.stem), :4].repeat(8, 0).repeat(8, 1), "PNG")
            )
        damaged = folder / f"b/4.{kind}"
        damaged.write_bytes(content)
        os.utime(damaged, (0, 0))  # not one that is still being copied
        return {"picture_folder": str(folder)}
    path = folder / f"images.{kind}"
    path.write_bytes(content)
    return {
        "npy": {"images_file": str(path)},
        "npz": {"npz_file": str(path), "images_array": "x_train", "labels_array": "y_train"},
        "hdf5": {
            "hdf5_file": str(path),
            "images_dataset": "images",
            "labels_dataset": "labels",
        },
    }[kind]


def run_case(kind: str, number: int, folder: Path) -> str:
    """Read a damaged file; return `READ`, `REFUSED` or `WAITS`.

    Raises:
        Finding: it was refused in another way than by one line, or not by both.
    """
    source = SOURCES.validate_python(write_source(kind, damaged_file(kind, number), folder))
    outcome, line = _read(source)
    if outcome != WAITS:
        faults = inspect_source(
            "mine", source, folder, test_share=TEST_SHARE, split_seed=SPLIT_SEED
        ).faults
        if (outcome == READ) == bool(faults.count):
            raise Finding(f"the run says {line or 'nothing'}, the inspection {faults.named}")
    return outcome


def _read(source: Any) -> tuple[str, str]:
    """Read a source as a run does; return the outcome, and the line of the error."""
    try:
        raw = check_counts(source.open())
        raw = raw if raw.test else draw_test_images(raw, TEST_SHARE, SPLIT_SEED)
        describe_dataset("mine", "fuzz", inspect(raw.splits, raw.class_names))
    except StepError as error:
        line = str(error)
        if not line or len(line) > LONGEST_LINE or not line.isprintable():
            raise Finding(f"not one line: {line!r}") from None
        return (WAITS if isinstance(error, TransientError) else REFUSED), line
    return READ, ""
