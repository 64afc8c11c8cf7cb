"""Encoding an image set in shards: each a file of its own, then all of them joined.

A shard is a codes file by the contract, as the whole is. Its bits do not depend on where it was
cut, so neither do those of the whole.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from tasks.codes.contract import chunks_of, provenance_of
from tasks.codes.reader import PublishedRun, open_codes
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, FileRecord, Record, Versions
from tasks.core.storage import (
    describe_file,
    is_intact,
    lock,
    move_into_place,
    partial_folder,
    remove_partial_files,
    write_errors_explained,
    write_record,
)
from tasks.core.versions import installed_versions
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.images.store import open_images, open_index, open_labels
from tasks.models.store import ModelRecord
from tasks.parameters.encode import EncodeParameters
from tasks.runs.manifest import check_file

logger = logging.getLogger(__name__)

RECORD_FILE = "encoding.json"
CODES_FILE = "codes/all.h5"
SHARDS_FOLDER = "shards"
OTHER_UNIT = 100
"""Images that are so many times brighter than the brightest training image have another unit."""


class EncodingPlan(Record):
    """What is encoded with what."""

    name: str = Field(description="of the folder, which derives from the images and the encoders")
    dataset: DatasetRecord = Field(description="with the scale that the encoders learned with")
    run: str = Field(description="that the encoders are of")
    models: tuple[ModelRecord, ...] = Field(description="copies of the run's, in the folder")


class EncodingRecord(Record):
    """An encoded image set."""

    plan: EncodingPlan
    parameters: EncodeParameters = Field(description="with which it was made")
    versions: Versions = Field(description="of what it was made with")
    codes: FileRecord


def encoding_folder(name: str, root: Path) -> Path:
    """Where an encoded image set stands."""
    return root / "encodings" / name


def plan_encoding(dataset: DatasetRecord, run: PublishedRun) -> EncodingPlan:
    """Plan to encode all images of a set with the encoders of a run.

    Raises:
        StepError: the encoders learned from images of another kind.
    """
    learned = run.manifest.dataset
    for what in ("image_shape", "dtype"):
        found, expected = getattr(dataset, what), getattr(learned, what)
        if found != expected:
            raise StepError(
                f"The images of {dataset.name} are of {what} {found}, those that the encoders of "
                f"run {run.manifest.run} learned from of {expected}: expected the same"
            )
    _check_brightness(dataset, run)
    encoders = [(model.fingerprint, model.weights_sha256) for model in run.manifest.models]
    facts = json.dumps([dataset.name, dataset.payload_sha256, encoders])
    key = hashlib.sha256(facts.encode()).hexdigest()
    name = f"{dataset.name}-{key[:12]}"
    folder = encoding_folder(name, Path())
    return EncodingPlan(
        name=name,
        dataset=dataset.model_copy(update={"scale": learned.scale}),
        run=run.manifest.run,
        models=tuple(_in_folder(model, folder) for model in run.manifest.models),
    )


def _check_brightness(dataset: DatasetRecord, run: PublishedRun) -> None:
    """Tell what is lost where images are brighter than what was learned from.

    Raises:
        StepError: nearly everything would be lost.
    """
    learned = run.manifest.dataset.scale
    found = (
        f"{dataset.name} has values up to {dataset.scale:g}, the images that run "
        f"{run.manifest.run} learned from up to {learned:g}"
    )
    if dataset.scale > OTHER_UNIT * learned:
        raise StepError(f"{found}: give them the same unit")
    if dataset.scale > learned:
        logger.warning("%s: what is brighter counts as white", found)


def _in_folder(model: ModelRecord, folder: Path) -> ModelRecord:
    return model.model_copy(update={"folder": f"{folder}/models/{model.name}"})


@contextmanager
def encoding_in_progress(plan: EncodingPlan, root: Path) -> Iterator[None]:
    """Keep others from encoding the same at the same time; they find it done afterwards."""
    with lock(f"encoding-{plan.name}", root):
        yield


def stored_encoding(plan: EncodingPlan, root: Path) -> EncodingRecord | None:
    """The encoded set, if that was done before and its codes are what was written."""
    folder = encoding_folder(plan.name, root)
    if record := _sound_record(folder):
        return record
    if record := _sound_record(partial_folder(folder)):  # only the last steps are missing
        _settle(folder)
    return record


def _sound_record(folder: Path) -> EncodingRecord | None:
    try:
        record = EncodingRecord.model_validate_json((folder / RECORD_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if is_intact(folder, record.codes) else None


def begin_encoding(plan: EncodingPlan, run: PublishedRun, root: Path) -> None:
    """Make the folder in which shards are collected, with the encoders: their run may go."""
    building = partial_folder(encoding_folder(plan.name, root))
    with write_errors_explained(building):
        for model in plan.models:
            target = building / "models" / model.name
            target.mkdir(parents=True, exist_ok=True)
            for file in model.files:
                source = check_file(run.folder, run.manifest, f"models/{model.name}/{file.path}")
                if not is_intact(target, file):
                    shutil.copyfile(source, target / file.path)
        remove_partial_files(building)


def shard_spans(rows: int, shard_rows: int) -> list[tuple[int, int]]:
    """The first row of each shard and the one after its last."""
    return [(start, min(start + shard_rows, rows)) for start in range(0, rows, shard_rows)]


def obtain_shard(plan: EncodingPlan, span: tuple[int, int], root: Path) -> bool:
    """Write the codes of the rows of a span, unless they are there already; tell whether it did."""
    path = _shard_path(plan, span, root)
    if _is_shard(path, plan, span):
        return False
    from tasks.encoding.encoder import load_encoder

    rows = slice(*span)
    building = partial_folder(encoding_folder(plan.name, Path()))
    images = open_images(plan.dataset, "all", root)[rows]
    labels = open_labels(plan.dataset, "all", root)
    write_codes(
        path,
        "all",
        plan.dataset,
        open_index(plan.dataset, "all", root)[rows],
        None if labels is None else labels[rows],
        [
            ModelCodes(model, load_encoder(model, root)(images, plan.dataset.scale))
            for model in (_in_folder(model, building) for model in plan.models)
        ],
    )
    return True


def join_shards(
    plan: EncodingPlan, spans: list[tuple[int, int]], parameters: EncodeParameters, root: Path
) -> EncodingRecord:
    """Write the codes of all rows into one file and give the folder its name."""
    folder = encoding_folder(plan.name, root)
    building = partial_folder(folder)
    paths = [_shard_path(plan, span, root) for span in spans]
    write_codes(
        building / CODES_FILE,
        "all",
        plan.dataset,
        open_index(plan.dataset, "all", root),
        open_labels(plan.dataset, "all", root),
        [ModelCodes(model, _read_shards(paths, model.name)) for model in plan.models],
    )
    record = EncodingRecord(
        plan=plan,
        parameters=parameters,
        versions=installed_versions(),
        codes=describe_file(building, CODES_FILE),
    )
    write_record(building / RECORD_FILE, record)
    _settle(folder)
    return record


def _settle(folder: Path) -> None:
    """Give a complete encoding its name, without the shards."""
    building = partial_folder(folder)
    shutil.rmtree(building / SHARDS_FOLDER, ignore_errors=True)
    move_into_place(building, folder)


def _shard_path(plan: EncodingPlan, span: tuple[int, int], root: Path) -> Path:
    building = partial_folder(encoding_folder(plan.name, root))
    return building / SHARDS_FOLDER / f"{span[0]:012}-{span[1]:012}.h5"


def _is_shard(path: Path, plan: EncodingPlan, span: tuple[int, int]) -> bool:
    try:
        with open_codes(path) as file:
            _, models = provenance_of(file)
            rows = file["index"]
            found = (rows[0], rows[-1] + 1, *(model.fingerprint for model in models.values()))
    except StepError:
        return False
    return found == (*span, *(model.fingerprint for model in plan.models))


def _read_shards(paths: list[Path], model: str) -> Iterator[CodesBlock]:
    for path in paths:
        with open_codes(path) as file:
            group = file[model]
            start = 0
            for codes in chunks_of(group["codes"]):
                stop = start + len(codes)
                yield CodesBlock(codes, group["reconstruction_mse"][start:stop])
                start = stop
