"""What was found in a source: a text for terminal and UI, and a page with images of each class."""

import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core.errors import StepError
from tasks.core.records import Record, Split
from tasks.core.storage import write_bytes
from tasks.images.dataset import SourceReport
from tasks.images.inspection import ImageFacts, Inspection
from tasks.images.rows import Images, Rows
from tasks.reports.report import encode_uri, render
from tasks.reports.sections import NOTHING, Table

logger = logging.getLogger(__name__)

TEXT_CLASSES = 100
"""Classes in the text; the page has all."""
UNLABELLED = "all images"


class InspectionRecord(Record):
    """A report on a source that a run could use."""

    dataset: str
    text: str
    """The report, as markdown without images."""


def inspection_page(dataset: str, root: Path) -> Path:
    """The page on a dataset; each inspection replaces that of the one before."""
    return root / "inspections" / dataset / "index.html"


def write_inspection(report: SourceReport, root: Path) -> InspectionRecord:
    """Write the page; return the text."""
    content = _sections(report)
    rows = list(_rows(report, content["classes"]))
    html = render("inspection.html.j2", content | {"rows": rows})
    write_bytes(inspection_page(report.name, root), html.encode())
    shown = content["classes"]._replace(rows=content["classes"].rows[:TEXT_CLASSES])
    hidden = len(content["classes"].rows) - len(shown.rows)
    content |= {"classes": shown, "hidden": hidden}
    return InspectionRecord(dataset=report.name, text=render("inspection.md.j2", content))


def raise_faults(report: SourceReport, record: InspectionRecord, root: Path) -> None:
    """Log each named fault, and fail if there is any.

    Raises:
        StepError: there is one.
    """
    faults = report.faults
    for fault in faults.named:
        logger.warning("%s", fault)
    if faults.count:
        raise StepError(
            f"{_counted(faults.count, 'fault')} in {record.dataset}; the first: {faults.named[0]}. "
            f"All of them: {inspection_page(record.dataset, root)}"
        )


def _sections(report: SourceReport) -> dict[str, Any]:
    """Everything that a template shows."""
    faults = report.faults
    hidden = faults.count - len(faults.named)
    return {
        "name": report.name,
        "source": report.source,
        "usable": not faults.count,
        "verdict": f"{_counted(faults.count, 'fault')}: a run would be refused"
        if faults.count
        else "No fault: a run can use these images",
        "facts": _facts(report),
        "faults": [*faults.named, *([f"and {hidden:,} more"] if hidden else [])],
        "notes": faults.notes,
        "left_out": Table(
            ["files", "number", "class", "reason"],
            [
                [kind.what, f"{count:,}", kind.class_name or NOTHING, kind.reason]
                for kind, count in report.left_out.items()
            ],
        ),
        "classes": _classes(report),
        "labelled": bool(report.contents.classes.labels),
    }


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _facts(report: SourceReport) -> Table:
    """Number, size, type and range of the images of each split."""
    contents, columns = report.contents, list[list[str]]()
    for split, facts in contents.images.items():
        images = contents.arrays[f"{split}_images"]
        columns.append(_describe(images, facts, split in contents.classes.labels))
    rows = ["number", "height x width", "colours", "type", "values", "labels"]
    return Table(
        ["", *(_split_name(split, report) for split in contents.images)],
        [list(cells) for cells in zip(rows, *columns, strict=True)] if columns else [],
    )


def _describe(images: Rows, facts: ImageFacts, labelled: bool) -> list[str]:
    height, width, *colours = images.shape[1:]
    return [
        f"{len(images):,}",
        f"{height} x {width}",
        "red, green, blue" if colours else "grey",
        images.dtype.name,
        f"{facts.least:g} to {facts.greatest:g}",
        "yes" if labelled else "none",
    ]


def _split_name(split: Split, report: SourceReport) -> str:
    if split == "train":
        return "training images"
    return "test images" + (", held out" if report.held_out else "")


def _classes(report: SourceReport) -> Table:
    """How many images each class has in each split; without labels, all are of one."""
    contents = report.contents
    columns = [_split_name(split, report) for split in contents.images]
    names = contents.classes.names if contents.classes.labels else (UNLABELLED,)
    rows = [
        [name, *(_class_size(contents, split, label) for split in contents.images)]
        for label, name in enumerate(names)
    ]
    return Table(["class", *columns], rows if columns else [])


def _class_size(contents: Inspection, split: Split, label: int) -> str:
    counts = contents.classes.counts.get(split)
    if counts is not None:
        return f"{counts[label]:,}"
    return NOTHING if contents.classes.counts else f"{len(contents.arrays[f'{split}_images']):,}"


def _rows(
    report: SourceReport, classes: Table
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The rows of the table of classes; beside each number a picture of some of the images."""
    strips = [_strips(report.contents, split) for split in report.contents.images]
    for label, (name, *sizes) in enumerate(classes.rows):
        yield name, [(size, strip.get(label)) for size, strip in zip(sizes, strips, strict=True)]


def _strips(contents: Inspection, split: Split) -> dict[int, str]:
    """Some images of each class as one picture, by label; without labels, all have label 0."""
    facts, labels = contents.images[split], contents.classes.labels.get(split)
    groups: dict[int, list[Images]] = {}
    for row, image in sorted(facts.samples.items()):
        groups.setdefault(0 if labels is None else int(labels[row]), []).append(image)
    return {label: _picture(images, facts.greatest) for label, images in groups.items()}


def _picture(images: list[Images], white: float) -> str:
    """Images side by side as a PNG picture.

    Args:
        white: the value that is shown as white.
    """
    gap = np.full((images[0].shape[0], 1, *images[0].shape[2:]), white, images[0].dtype)
    row = np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)
    levels: NDArray[np.uint8] = np.rint(row / (white or 1) * 255).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return encode_uri(file.getvalue(), "image/png")
