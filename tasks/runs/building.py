"""Build a run or a sweep: the lock of the run, and the folder until it is complete."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.codes.reader import open_codes
from tasks.core.errors import StepError
from tasks.core.locks import lock
from tasks.core.records import CodesSha256, DatasetRecord, FileRecord, Record
from tasks.core.storage import (
    describe_file,
    make_folder,
    move_into_place,
    partial_folder,
    read_record,
    write_bytes,
    write_errors_explained,
    write_record,
)
from tasks.core.versions import installed_versions
from tasks.models.store import ModelRecord
from tasks.runs.manifest import DERIVED_VERSION, Manifest

ATTEMPT_FOLDER = ".attempt"
"""In a building folder: intermediate results for the next attempt at the same run."""
INPUTS_FILE = "inputs.txt"
"""In that folder: the dataset, models and versions that everything was made from."""
ANCHORS_FOLDER = "anchors"
"""In that folder: what was chosen before anything was made."""
WAITING_FILE = "waiting.json"
"""In that folder, while the run waits for a person: its manifest so far."""
PUBLICATION_LOCK = "publication"
"""Held while runs of any dataset are compared, published or deleted."""
RUN_LOCK_PREFIX = "run-"


@contextmanager
def run_in_progress(run: str, root: Path) -> Iterator[None]:
    """Hold the lock of a run, so that no clean-up deletes what it needs."""
    with lock(f"{RUN_LOCK_PREFIX}{run}", root):
        # A clean-up that is under way has not seen this lock: wait until it is done.
        with lock(PUBLICATION_LOCK, root):
            pass
        yield


def building_folder(run: str, root: Path, kind: str = "runs") -> Path:
    """The building folder of a run, or of another kind of result; created if it is missing."""
    folder = partial_folder(root / kind / run)
    with write_errors_explained(folder):
        make_folder(folder)
    return folder


def anchors_folder(run: str, root: Path) -> Path:
    """Where a run keeps the anchors of its models until it is complete."""
    return building_folder(run, root) / ATTEMPT_FOLDER / ANCHORS_FOLDER


def begin_run(run: str, dataset: DatasetRecord, models: list[ModelRecord], root: Path) -> None:
    """Empty the building folder unless an earlier attempt filled it from the same inputs.

    The anchors stay, which the models depend on.
    """
    folder = building_folder(run, root)
    path = folder / ATTEMPT_FOLDER / INPUTS_FILE
    weights = [f"{model.fingerprint} {model.weights_sha256}" for model in models]
    formats = f"formats of version {DERIVED_VERSION}"
    versions = installed_versions().model_dump_json()
    inputs = "\n".join([formats, versions, dataset.model_dump_json(), *weights]).encode()
    if not path.exists() or path.read_bytes() != inputs:
        attempt = folder / ATTEMPT_FOLDER
        kept = {attempt, attempt / ANCHORS_FOLDER}
        for made in {*folder.iterdir(), *attempt.glob("*")} - kept:
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink()
        write_bytes(path, inputs)


def discard_building(run: str, root: Path) -> None:
    """Delete the building folder of a run that ends without results."""
    shutil.rmtree(building_folder(run, root))


def read_waiting(run: str, root: Path) -> Manifest | None:
    """The manifest so far of a run that waits for a person; None if it does not.

    None, too, if another version of the project made it: everything is then made anew.
    """
    folder = partial_folder(root / "runs" / run)
    try:
        manifest = read_record(folder / ATTEMPT_FOLDER / WAITING_FILE, Manifest)
    except StepError:  # there is none
        return None
    now = (DERIVED_VERSION, installed_versions())
    return manifest if (manifest.derived_version, manifest.versions) == now else None


def digest_codes(folder: Path, verified: Iterable[FileRecord] = ()) -> CodesSha256:
    """Verify the codes files of a run; return the SHA-256 of the codes in them.

    Args:
        verified: codes files that were verified before; only their bytes are compared.

    Raises:
        CodesError: one does not follow the contract, or changed.
    """
    digests: CodesSha256 = {}
    known = {file.path: file.sha256 for file in verified}
    for path in sorted((folder / "codes").glob("*.h5")):
        with open_codes(path, known.get(f"codes/{path.name}")) as file:
            for name, model in file.models.items():
                digests.setdefault(name, {})[file.split.split] = model.codes_sha256
    return digests


def file_names(folder: Path, record_file: str) -> list[str]:
    """The paths, relative to the folder, of all files of a run or sweep except its record."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = (str(path) for path in paths if ATTEMPT_FOLDER not in path.parts)
    return sorted(name for name in names if name != record_file)


def list_files(folder: Path, record_file: str) -> tuple[FileRecord, ...]:
    """Size and SHA-256 of these files, sorted by path."""
    return tuple(describe_file(folder, name) for name in file_names(folder, record_file))


def finish_building(building: Path, record_file: str, record: Record, folder: Path) -> None:
    """Write the record and give a building folder its final name."""
    write_record(building / record_file, record)
    shutil.rmtree(building / ATTEMPT_FOLDER, ignore_errors=True)
    move_into_place(building, folder)
