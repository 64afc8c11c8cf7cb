"""What must hold in an artifacts folder at every moment, whatever failed or was killed."""

import json
from itertools import pairwise
from pathlib import Path

from tasks.codes.published import open_published, published_link
from tasks.core.records import DatasetRecord
from tasks.core.storage import read_record
from tasks.images.digest import rows_sha256
from tasks.images.formats.numpy import open_npy
from tasks.images.store import RECORD_FILE as DATASET_RECORD
from tasks.images.store import array_file
from tasks.models.store import RECORD_FILE as MODEL_RECORD
from tasks.models.store import stored_model
from tasks.runs.journal import read_journal
from tasks.runs.lookup import check_files
from tasks.runs.manifest import read_manifest


def check_published(dataset: str, root: Path) -> str:
    """Read all of what is published, as a job downstream does; return the run's name.

    Raises:
        CodesError: it cannot be read.
    """
    run = open_published(dataset, root)
    for file in run.files:
        run.file(file.path)
    for model in run.models:
        assert len(run.codes("test", model).codes)
    return run.name


KINDS = ("models", "datasets", "runs", "publications", "published")


def check_folder(root: Path) -> None:
    """Check that nothing under a final name is half-written, and that links lead to whole runs.

    Raises:
        AssertionError, AutoencoderError: something is wrong.
    """
    for kind in KINDS:
        for entry in root.glob(f"{kind}/[!.]*"):
            check_entry(entry, root)


def check_entry(entry: Path, root: Path) -> None:
    """Check one folder, file or link in a folder of the artifacts folder."""
    match entry.parent.name:
        case "models":  # without a record, a training is under way or was interrupted
            if (entry / MODEL_RECORD).exists():
                assert stored_model(entry), f"{entry} is damaged"
        case "datasets":
            _check_dataset(entry)
        case "runs":
            manifest = read_manifest(entry)
            check_files(entry, manifest.files)
        case "publications":
            _check_journal(entry.stem, root)
        case "published":
            assert entry.is_symlink(), f"{entry} is no link"
            check_published(entry.name, root)


def _check_dataset(folder: Path) -> None:
    record = read_record(folder / DATASET_RECORD, DatasetRecord)
    for part, sha256 in record.payloads.items():
        assert rows_sha256(open_npy(folder / array_file(part))) == sha256, f"{folder}: {part}"
    for path in folder.glob("[!.]*.json"):
        json.loads(path.read_bytes())


def _check_journal(dataset: str, root: Path) -> None:
    """The journal follows the link: it may lack the newest switch, and never has one too many."""
    entries = read_journal(dataset, root).publications
    runs = [entry.run for entry in entries]
    assert all(before != after for before, after in pairwise(runs)), runs
    link = published_link(dataset, root)
    if entries:
        assert link.is_symlink(), f"{dataset} was published, and has no link"
    for entry in entries[:-1]:
        assert entry.codes_sha256
