"""Runs of models that were never trained: all of a run but the training, in some milliseconds."""

import hashlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.codes.errors import AutoencoderError
from tasks.core.locks import lock
from tasks.core.records import SPLITS, DatasetRecord, Split
from tasks.core.storage import describe_file, write_bytes, write_record
from tasks.encoding.export import codes_file, write_arrays
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tasks.models.store import RECORD_FILE, ModelRecord, model_lock, stored_model
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.reports.report import render_files
from tasks.runs import outbox, publication
from tasks.runs.building import begin_run, building_folder, run_in_progress
from tasks.runs.manifest import Manifest, RunRecord
from tasks.runs.outbox import find_unannounced, record_announcement
from tasks.runs.publication import complete_run, resume_publication
from tests.conftest import BASELINES, METRICS, SAMPLE, example_model
from tests.fetching import fetch

DATASETS = (SAMPLE.dataset, "other")
WORSE = METRICS.model_copy(update={"validation_loss": 0.4})
KILLED, EXPECTED, UNEXPECTED = 9, 3, 4
"""Exit codes of processes."""
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"}
"""Python's audit events; opening a file that may be created is another."""


class Order(NamedTuple):
    """A run to make."""

    run: str
    dataset: str
    seed: int
    """Of its model, which is made anew if there is none yet."""
    worse: bool = False
    """So that the gate refuses it."""
    quick: bool = False
    retrain: bool = False


def run(order: Order, root: Path, told: Path) -> Manifest:
    """Do what the flow does: an earlier attempt's results count, and what is missing is made.

    Args:
        told: a file outside of the artifacts folder that takes the place of Prefect.
    """
    with run_in_progress(order.run, root):
        manifest = resume_publication(order.run, root)
        if manifest is None:
            manifest = _build(order, root, told)
        announce(order.dataset, root, told)
    return manifest


def _build(order: Order, root: Path, told: Path) -> Manifest:
    parameters = SAMPLE.model_copy(update={"dataset": order.dataset})
    dataset = fetch(parameters, root)
    announce(order.dataset, root, told)
    model = obtain(dataset, order, root)
    begin_run(order.run, dataset, [model], root)
    folder = building_folder(order.run, root)
    for split in SPLITS:
        write_bytes(folder / codes_file(split), _codes(split, dataset, model, root))
        write_arrays(split, [model], folder)
    settings = Parameters(run=RunParameters(quick=order.quick))
    record = RunRecord(
        run=order.run,
        started=datetime.now(UTC),
        parameters=settings.model_dump(mode="json"),
        dataset=dataset,
        baselines=BASELINES,
        models=(model,),
        metrics={model.name: WORSE if order.worse else METRICS},
    )
    return complete_run(record, root, render_files)


def announce(dataset: str, root: Path, told: Path) -> None:
    """Tell of what is published and was not announced."""
    if manifest := find_unannounced(dataset, root):
        with told.open("a") as file:
            file.write(f"{manifest.run}\n")
        record_announcement(manifest, root)


def obtain(dataset: DatasetRecord, order: Order, root: Path) -> ModelRecord:
    """A model of random numbers, stored as a trained one is; another training has other files."""
    fingerprint = hashlib.sha256(f"{dataset.name} {order.seed}".encode()).hexdigest()
    folder = root / "models" / fingerprint
    with lock(model_lock(fingerprint), root):
        if not order.retrain and (stored := stored_model(folder)):
            return stored
        names = ("autoencoder.keras", "encoder.keras", "history.json")
        for name in names:
            write_bytes(folder / name, f"{name} of {order.run}\n".encode() * 100)
        record = example_model().model_copy(
            update={
                "fingerprint": fingerprint,
                "folder": f"models/{fingerprint}",
                "dataset_payload_sha256": dataset.payload_sha256,
                "files": tuple(describe_file(folder, name) for name in names),
            }
        )
        write_record(folder / RECORD_FILE, record)
    return record


_made: dict[tuple[str, str, Split], bytes] = {}


def _codes(split: Split, dataset: DatasetRecord, model: ModelRecord, root: Path) -> bytes:
    key = (dataset.name, model.fingerprint, split)
    if key not in _made:
        rows = dataset.rows[split]
        numbers = np.random.default_rng(int(model.fingerprint[:8], 16))
        block = CodesBlock(numbers.random((rows, 32), np.float32), numbers.random(rows, np.float32))
        path = root.parent / f"{split}.h5"
        write_codes(path, split, dataset, range(rows), None, [ModelCodes(model, [block])])
        _made[key] = path.read_bytes()
    return _made[key]


POINTS = {
    "before the run gets its name": (publication, "finish_building"),
    "before the switch": (publication, "switch_link"),
    "before the switch is recorded": (publication, "record_publication"),
    "before a missed switch is recorded": (outbox, "record_publication"),
    "before the announcement is recorded": (outbox, "mark_announced"),
    "before old runs are deleted": (publication, "delete_old_runs"),
}
"""By name: the function that is not called any more."""


class Ended(NamedTuple):
    """How another process ended."""

    code: int
    text: str
    """The error's type and text."""


def start(act: Callable[[], object], log: Path, kill_at: str | int | None = None) -> int:
    """Act in another process, which is killed at a named point or before a write; return its id.

    A kill is immediate: nothing is cleaned up, and locks are released by the system.

    Args:
        kill_at: a name of `POINTS`, or the number of writes to the file system before the kill.
    """
    process = os.fork()
    if process:
        return process
    code = 0
    try:
        if isinstance(kill_at, str):
            setattr(*POINTS[kill_at], lambda *arguments, **named: os._exit(KILLED))
        elif kill_at is not None:
            _kill_after_writes(kill_at)
        act()
    except (AutoencoderError, OSError) as error:
        code = EXPECTED
        log.write_text(f"{type(error).__name__}: {error}")
    except BaseException as error:  # whatever it is, it is the finding
        code = UNEXPECTED
        log.write_text(f"{type(error).__name__}: {error}")
    os._exit(code)


def _kill_after_writes(count: int) -> None:
    left = iter(range(count))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        opened = event == "open" and isinstance(flags := arguments[2], int) and flags & os.O_CREAT
        if (opened or event in WRITES) and next(left, None) is None:
            os._exit(KILLED)

    sys.addaudithook(watch)


def wait(process: int, log: Path) -> Ended:
    """Wait for the end of another process."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    text = log.read_text() if code in (EXPECTED, UNEXPECTED) else ""
    return Ended(code, text)
