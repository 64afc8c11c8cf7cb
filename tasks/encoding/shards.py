"""Encode an image set in shards, each a codes file, then join them into one codes file.

The bits of a shard do not depend on where the set is cut, so neither do those of the joined file.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h5py
from pydantic import Field

from tasks.codes.contract import chunks_of
from tasks.codes.errors import CodesError
from tasks.codes.provenance import SCHEMA_VERSION
from tasks.codes.published import PublishedRun
from tasks.codes.reader import open_codes, verify_codes
from tasks.codes.scales import LARGEST_SCALE_RATIO, unit_ratio
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, FileRecord, Record, Versions
from tasks.core.storage import (
    describe_file,
    is_intact,
    move_into_place,
    partial_folder,
    read_intact,
    read_record,
    remove_partial_files,
    write_errors_explained,
    write_record,
)
from tasks.core.versions import installed_versions
from tasks.encoding.classes import match_classes, relabel
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.images.store import open_index, open_labels
from tasks.models.store import ModelRecord
from tasks.parameters.published import EncodeParameters

logger = logging.getLogger(__name__)

RECORD_FILE = "encoding.json"
CODES_FILE = "codes/all.h5"
SHARDS_FOLDER = "shards"
DERIVED_VERSION = 1
"""Of the formats of all files of an encoded set. Raise it with every change of them: what is stored
is then made anew, and not taken for unchanged."""


class EncodingPlan(Record):
    """Which images are encoded with which models."""

    name: str = Field(description="of the folder; derives from the images and the encoders")
    dataset: DatasetRecord = Field(
        description="with the scale and the names of classes of the training images"
    )
    run: str = Field(description="the run that trained the encoders")
    models: tuple[ModelRecord, ...] = Field(description="copies of the run's, in the folder")
    relabelled: dict[int, int] = Field(
        {},
        description="the label, among the classes that the models were trained on, of each class "
        "that has another one among the images",
    )


class EncodingRecord(Record):
    """An encoded image set."""

    plan: EncodingPlan
    parameters: EncodeParameters = Field(description="with which it was made")
    versions: Versions = Field(description="of what it was made with")
    codes: FileRecord
    derived_version: int = Field(1, description="of the formats of all files in the folder")


def encoding_folder(name: str, root: Path) -> Path:
    """The folder of an encoded image set."""
    return root / "encodings" / name


def plan_encoding(
    images: DatasetRecord,
    run: str,
    training_set: DatasetRecord,
    models: tuple[ModelRecord, ...],
    root: Path,
) -> EncodingPlan:
    """Plan to encode all images of a set with the encoders of a run.

    Args:
        run: name of the run.
        training_set: what the run's models were trained on.

    Raises:
        StepError: the encoders were trained on images of another kind or of other classes.
    """
    if images.image_shape != training_set.image_shape:
        height, width = training_set.image_shape[:2]
        raise StepError(
            f"{images.name} has image_shape {images.image_shape}, expected "
            f"{training_set.image_shape} as in the images that the encoders of run {run} were "
            f"trained on. --source.resize {height}x{width} resizes pictures, and --source.in-color "
            "reads grey ones as colour"
        )
    scale = _choose_scale(images, run, training_set)
    labels = open_labels(images, "all", root)
    relabelled, class_names = match_classes(images, labels, run, training_set)
    encoders = [(model.fingerprint, model.weights_sha256) for model in models]
    classes = [sorted(relabelled.items()), class_names]
    facts = json.dumps([SCHEMA_VERSION, images.name, images.payload_sha256, classes, encoders])
    name = f"{images.name}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    folder = encoding_folder(name, Path())
    return EncodingPlan(
        name=name,
        dataset=images.model_copy(update={"scale": scale, "class_names": class_names}),
        run=run,
        models=tuple(_in_folder(model, folder) for model in models),
        relabelled=relabelled,
    )


def _choose_scale(images: DatasetRecord, run: str, training_set: DatasetRecord) -> float:
    """The value of the images that is 1.0 for the encoders; warn of images that are brighter.

    Raises:
        StepError: the images have another unit than those that were learned from.
    """
    found = (
        f"{images.name} has values of {images.dtype} up to {images.scale:g}, the training images "
        f"of run {run} of {training_set.dtype} up to {training_set.scale:g}"
    )
    ratio = unit_ratio(images.dtype, images.scale, training_set.dtype, training_set.scale)
    scale = training_set.scale * (ratio or 1)
    if ratio is None or images.scale > LARGEST_SCALE_RATIO * scale:
        raise StepError(f"{found}: convert them to the same unit")
    if ratio != 1 or images.dtype != training_set.dtype:
        logger.info("%s: %g counts as white in the former", found, scale)
    if images.scale > scale:
        logger.warning("%s: brighter pixels count as white", found)
    return scale


def _in_folder(model: ModelRecord, folder: Path) -> ModelRecord:
    return model.model_copy(update={"folder": f"{folder}/models/{model.name}"})


def stored_encoding(plan: EncodingPlan, root: Path) -> EncodingRecord | None:
    """The encoded set, if it is there and its codes file is intact."""
    folder = encoding_folder(plan.name, root)
    record = _read_record(folder)
    if record is None and (record := _read_record(partial_folder(folder))):
        _finish(folder)  # complete, but not renamed yet
    if record:
        logger.info(
            "Unchanged: the codes of %s are there already: same images, same weights", folder
        )
    else:
        _log_comparable(plan, root)
    return record


def _log_comparable(plan: EncodingPlan, root: Path) -> None:
    """Say which stored codes of these images are of the same basis, but of older weights."""
    weights = {model.name: model.encoder_weights_sha256 for model in plan.models}
    bases = {model.name: model.basis for model in plan.models if model.basis}
    for path in sorted(encoding_folder("", root).glob(f"[!.]*/{RECORD_FILE}")):
        with suppress(StepError):  # damaged
            stored = read_record(path, EncodingRecord).plan
            if stored.dataset.payload_sha256 != plan.dataset.payload_sha256:
                continue
            names = [
                model.name
                for model in stored.models
                if model.basis == bases.get(model.name, "")
                and model.encoder_weights_sha256 != weights[model.name]
            ]
            if names:
                logger.info(
                    "The %s codes in %s are of the same basis, but of older weights: they can "
                    "still be compared with those of run %s",
                    " and ".join(names),
                    path.parent,
                    plan.run,
                )


def _read_record(folder: Path) -> EncodingRecord | None:
    """The record of an encoded set, if it is intact and its formats are those of today."""
    record = read_intact(folder / RECORD_FILE, EncodingRecord, lambda record: [record.codes])
    if record and record.derived_version != DERIVED_VERSION:
        logger.info("The codes of %s are of another version: made anew", folder)
        return None
    return record


def begin_encoding(plan: EncodingPlan, run: PublishedRun, root: Path) -> None:
    """Create the folder for the shards, with copies of the models: the run may be deleted.

    Raises:
        CodesError: a model of the run is damaged.
    """
    building = partial_folder(encoding_folder(plan.name, root))
    with write_errors_explained(building):
        for model in plan.models:
            target = building / "models" / model.name
            target.mkdir(parents=True, exist_ok=True)
            for file in model.files:
                if not is_intact(target, file):
                    source = run.file(f"models/{model.name}/{file.path}")
                    shutil.copyfile(source, target / file.path)
        remove_partial_files(building)


def shard_spans(rows: int, shard_rows: int) -> list[tuple[int, int]]:
    """The first row of each shard and the one after its last."""
    return [(start, min(start + shard_rows, rows)) for start in range(0, rows, shard_rows)]


def obtain_shard(plan: EncodingPlan, span: tuple[int, int], root: Path) -> bool:
    """Write the codes of a span of rows, unless they exist; return whether they were written."""
    path = _shard_path(plan, span, root)
    if _is_shard(path, plan, span):
        return False
    from tasks.encoding.encoder import encode_split  # loads TensorFlow

    building = partial_folder(encoding_folder(plan.name, Path()))
    models = [_in_folder(model, building) for model in plan.models]
    encode_split("all", plan.dataset, models, path, root, slice(*span), plan.relabelled)
    return True


def join_shards(
    plan: EncodingPlan, spans: list[tuple[int, int]], parameters: EncodeParameters, root: Path
) -> EncodingRecord:
    """Write the codes of all rows into one file and give the folder its name.

    Raises:
        CodesError: a shard is damaged.
    """
    folder = encoding_folder(plan.name, root)
    building = partial_folder(folder)
    paths = [_shard_path(plan, span, root) for span in spans]
    for path in paths:
        verify_codes(path)
    write_codes(
        building / CODES_FILE,
        "all",
        plan.dataset,
        open_index(plan.dataset, "all", root),
        relabel(open_labels(plan.dataset, "all", root), plan.relabelled),
        [ModelCodes(model, _read_shards(paths, model.name)) for model in plan.models],
    )
    record = EncodingRecord(
        plan=plan,
        parameters=parameters,
        versions=installed_versions(),
        codes=describe_file(building, CODES_FILE),
        derived_version=DERIVED_VERSION,
    )
    write_record(building / RECORD_FILE, record)
    _finish(folder)
    return record


def _finish(folder: Path) -> None:
    """Delete the shards of a complete encoding and give it its name."""
    building = partial_folder(folder)
    shutil.rmtree(building / SHARDS_FOLDER, ignore_errors=True)
    move_into_place(building, folder)


def _shard_path(plan: EncodingPlan, span: tuple[int, int], root: Path) -> Path:
    building = partial_folder(encoding_folder(plan.name, root))
    return building / SHARDS_FOLDER / f"{span[0]:012}-{span[1]:012}.h5"


def _is_shard(path: Path, plan: EncodingPlan, span: tuple[int, int]) -> bool:
    try:
        with open_codes(path) as file:
            rows = file.hdf5["index"]
            found = [rows[0], rows[-1] + 1, *(model.fingerprint for model in file.models.values())]
    except CodesError:
        return False
    return found == [*span, *(model.fingerprint for model in plan.models)]


def _read_shards(paths: list[Path], model: str) -> Iterator[CodesBlock]:
    """The codes of verified shards, a chunk at a time."""
    for path in paths:
        with h5py.File(path, "r", locking=False) as file:
            start = 0
            for codes in chunks_of(file[f"{model}/codes"]):
                stop = start + len(codes)
                yield CodesBlock(codes, file[f"{model}/reconstruction_mse"][start:stop])
                start = stop
