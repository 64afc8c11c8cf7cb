"""Neighbours that were searched earlier: their records, and which of them can be used again."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from tasks.codes.provenance import short_basis
from tasks.codes.reader import Codes
from tasks.core.errors import StepError
from tasks.core.records import FileRecord, Record, Sha256, Split
from tasks.core.storage import is_intact, read_record

logger = logging.getLogger(__name__)

RECORD_FILE = "neighbors.json"
DERIVED_VERSION = 1
"""Of the formats of all files in a folder of neighbours. Raise it with every change of them: what
is stored is then made anew, and neither copied nor taken for unchanged."""


class ClassShares(Record):
    """How many of the nearest neighbours have the class of the query: precision at 100.

    The share of the (at most) 100 neighbours, mean over the queries.
    """

    codes: float
    pca: float | None = Field(
        description="the same among neighbours in a PCA with as many components as the code has "
        "units; null where the dataset's PCA is not there"
    )


class SearchedCodes(Record):
    """The codes of a model that were searched; those of equal ones have the same neighbours."""

    basis: Sha256 = Field(description="codes of one basis can be compared")
    encoder_weights_sha256: Sha256
    dataset_payload_sha256: Sha256 = Field(description="identifies images and labels")
    codes_sha256: dict[Split, Sha256]


class NeighborsRecord(Record):
    """A folder of neighbours, and the codes they were computed from."""

    run: str
    models: dict[str, SearchedCodes] = Field(
        {}, description="by name; empty in records of earlier versions"
    )
    same_class: dict[str, ClassShares] = Field(
        description="by model; empty where the images have no labels"
    )
    codes_sha256: dict[str, Sha256] = Field(description="of the codes files, by path")
    files: tuple[FileRecord, ...]
    derived_version: int = Field(1, description="of the formats of all files in the folder")


def neighbors_folder(run: str, root: Path) -> Path:
    """The folder with the neighbours of a run's codes."""
    return root / "neighbors" / run


def describe_codes(train: Codes, test: Codes) -> SearchedCodes:
    """What identifies the codes of a model."""
    return SearchedCodes(
        basis=test.basis,
        encoder_weights_sha256=test.model.encoder_weights_sha256,
        dataset_payload_sha256=test.split.dataset_payload_sha256,
        codes_sha256={"train": train.model.codes_sha256, "test": test.model.codes_sha256},
    )


def find_others(run: str, root: Path) -> list[tuple[Path, NeighborsRecord]]:
    """The folders with the neighbours of other runs, the latest first.

    Their files are not checked.
    """
    written = {}
    for path in neighbors_folder("", root).glob(f"[!.]*/{RECORD_FILE}"):
        if path.parent.name != run:
            with suppress(OSError, StepError):  # deleted meanwhile, or damaged
                written[path.stat().st_mtime_ns] = path.parent, read_record(path, NeighborsRecord)
    return [written[time] for time in sorted(written, reverse=True)]


def copy_equal(
    model: str,
    codes: SearchedCodes,
    others: list[tuple[Path, NeighborsRecord]],
    name: str,
    folder: Path,
    with_pca: bool,
) -> NeighborsRecord | None:
    """Copy the neighbours of the same codes; return the record of the run that had them, if any.

    Args:
        name: of the file.
        folder: to copy it into.
        with_pca: use only what was compared with PCA.
    """
    for source, other in others:
        shares = other.same_class.get(model)
        if other.models.get(model) != codes or other.derived_version != DERIVED_VERSION:
            continue
        if with_pca and shares and shares.pca is None:
            continue
        with suppress(OSError):  # it may be deleted with its run
            shutil.copyfile(source / name, folder / name)
        if any(file.path == name and is_intact(folder, file) for file in other.files):
            logger.info(
                "Copied %s from the neighbours of run %s: same basis, same weights", name, other.run
            )
            return other
    return None


def log_comparable(
    model: str, codes: SearchedCodes, others: list[tuple[Path, NeighborsRecord]]
) -> None:
    """Say where there are neighbours of the same basis, searched in codes of older weights."""
    for _, other in others:
        found = other.models.get(model)
        if found and found.basis == codes.basis and found != codes:
            logger.info(
                "The stored neighbours of the %s codes of run %s are of the same basis %s, but of "
                "older weights or images: their codes can still be compared with those of this run",
                model,
                other.run,
                short_basis(codes.basis),
            )
            return
