import re
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.images.dataset import SourceReport
from tasks.images.faults import MOST_NAMED, Faults, collect_faults
from tasks.images.inspection import Inspection, inspect
from tasks.images.rows import ArrayRows, LeftOut, RawSplit
from tasks.reports.inspections.page import (
    TEXT_CLASSES,
    inspection_page,
    raise_faults,
    write_inspection,
)

IMAGES = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
LABELS = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0])


def split(images: NDArray[Any], labels: NDArray[Any] | None = None) -> RawSplit:
    return RawSplit(
        ArrayRows("mine.npy", images), None if labels is None else ArrayRows("labels.npy", labels)
    )


def report(
    splits: dict[Split, RawSplit],
    names: tuple[str, ...] = (),
    left_out: Mapping[LeftOut, int] | None = None,
    held_out: bool = False,
) -> SourceReport:
    with collect_faults() as faults:
        contents = inspect(splits, names, samples=True)
    return SourceReport("mine", "somewhere", left_out or {}, held_out, contents, faults)


def pictures(page: str) -> list[NDArray[Any]]:
    found = re.findall(r"base64,([^\"]+)", page)
    return [np.asarray(Image.open(BytesIO(b64decode(text)))) for text in found]


def test_the_text_has_the_facts_of_each_split_and_class(tmp_path: Path) -> None:
    left_out = {LeftOut("no pictures", ".txt", "boot"): 3}
    both = report(
        {"train": split(IMAGES, LABELS), "test": split(IMAGES[:2] + 40, LABELS[1:3])},
        ("boot", "coat"),
        left_out,
        held_out=True,
    )
    text = write_inspection(both, tmp_path).text
    assert text.startswith("# mine: No fault: a run can use these images\n")
    assert "| training images | test images, held out |" in text
    for row in (
        *("| number | 10 | 2 |", "| height x width | 2 x 3 | 2 x 3 |", "| colours | grey | grey |"),
        *("| type | uint8 | uint8 |", "| values | 0 to 59 | 40 to 51 |", "| labels | yes | yes |"),
        *("| boot | 7 | 1 |", "| coat | 3 | 1 |", "| .txt | 3 | boot | no pictures |"),
    ):
        assert row in text
    raise_faults(both, write_inspection(both, tmp_path), tmp_path)


def test_the_page_shows_images_of_each_class_of_each_split(tmp_path: Path) -> None:
    write_inspection(report({"train": split(IMAGES, LABELS), "test": split(IMAGES)}), tmp_path)
    page = inspection_page("mine", tmp_path).read_text()
    shown = pictures(page)
    assert [picture.shape for picture in shown] == [(2, 7 * 4 - 1), (2, 10 * 4 - 1), (2, 3 * 4 - 1)]
    expected = np.rint(IMAGES[2] / 59 * 255)
    assert np.array_equal(shown[2][:, :3], expected)
    assert "http" not in page


@pytest.mark.parametrize("shape", [(4, 3), (1, 1, 3)])
def test_images_without_labels_are_shown_together(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = np.zeros((5, *shape), np.float32)
    images[2] = 0.5
    text = write_inspection(report({"train": split(images)}), tmp_path).text
    assert "Classes" not in text
    page = inspection_page("mine", tmp_path).read_text()
    assert "all images" in page
    (picture,) = pictures(page)
    assert picture.shape[:2] == (shape[0], 5 * (shape[1] + 1) - 1)
    assert picture[:, 2 * (shape[1] + 1)].min() == 255


def test_names_of_any_characters_are_shown_as_they_are(tmp_path: Path) -> None:
    names = ("<b>靴</b>", "a|*b*")
    text = write_inspection(report({"train": split(IMAGES, LABELS)}, names), tmp_path).text
    assert "| a\\|\\*b\\* | 3 |" in text
    page = inspection_page("mine", tmp_path).read_text()
    assert "&lt;b&gt;靴&lt;/b&gt;" in page
    assert "<b>" not in page


def test_all_faults_are_reported_and_fail_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.full((MOST_NAMED + 20, 2, 2), -1, np.int16)
    images[0] = 3
    labels = np.zeros(len(images), int)
    labels[5] = -1
    found = report({"train": split(images, labels)})
    record = write_inspection(found, tmp_path)
    assert record.text.startswith("# mine: 120 faults: a run would be refused")
    assert "- row 5 of labels.npy holds the class -1" in record.text
    assert "- and 20 more" in record.text
    with pytest.raises(StepError, match=r"120 faults in mine; the first: row 5 of .* All of them:"):
        raise_faults(found, record, tmp_path)
    assert len(caplog.records) == MOST_NAMED
    assert "of no class" not in inspection_page("mine", tmp_path).read_text()


def test_a_source_that_cannot_be_opened_is_one_fault(tmp_path: Path) -> None:
    faults = Faults()
    faults.add("/data/x.npy is missing: place the file there")
    found = SourceReport("mine", "", {}, False, Inspection(), faults)
    text = write_inspection(found, tmp_path).text
    assert text.startswith("# mine: 1 fault: a run would be refused\n")
    assert "- /data/x.npy is missing: place the file there\n" in text
    assert "##" not in text.replace("## Faults", "")
    assert "missing" in inspection_page("mine", tmp_path).read_text()


def test_of_very_many_classes_the_page_has_all_and_the_text_the_first(tmp_path: Path) -> None:
    images = np.arange(TEXT_CLASSES + 7, dtype=np.uint16).reshape(-1, 1, 1)
    found = report({"train": split(images, np.arange(len(images)))})
    text = write_inspection(found, tmp_path).text
    assert "| 99 | 1 |" in text
    assert "| 100 | 1 |" not in text
    assert "The page has the other 7 classes." in text
    assert len(pictures(inspection_page("mine", tmp_path).read_text())) == TEXT_CLASSES + 7
