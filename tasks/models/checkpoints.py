"""The state of a training, and its checkpoints: the process can be killed at any moment.

A checkpoint is one `.npz` file named after its position and the SHA-256 of its bytes. It appears in
one rename. The one before it is deleted only after it was read back and verified.
"""

import hashlib
import io
import logging
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.codes.reader import sha256_of_file
from tasks.core.errors import StepError
from tasks.core.records import EpochRecord, Record, Sha256
from tasks.core.storage import write_bytes

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 2.0
"""Most work a SIGKILL can lose, in seconds, as long as saving is cheap."""
MAX_COST = 0.01
"""Share of the time that saving may take; where it takes more, it is done less often."""
NAME = re.compile(r"\d{6}-\d{6}-[0-9a-f]{64}\.npz")
"""Epoch, step and SHA-256."""


class Position(Record):
    """How far a training has come."""

    epoch: int = 0
    step: int = 0
    """The next optimizer step, in `epoch`."""
    loss_sum: float = 0.0
    loss_rows: int = 0
    """Sampled rows of the epoch so far, and the sum of their losses per pixel."""
    finished: bool = False
    """Whether the model was given its last form, which the last validation loss is of."""
    history: tuple[EpochRecord, ...] = ()
    """One record for each finished epoch."""


class TrainingState(NamedTuple):
    """A training between two optimizer steps."""

    position: Position
    variables: list[NDArray[Any]]
    """Weights, then the optimizer's variables, in Keras's order."""


class Progress(NamedTuple):
    """Where a training stands, for people."""

    steps_done: int
    steps: int
    epochs_done: int
    epochs: int
    history: tuple[EpochRecord, ...]


class Header(Record):
    """What a checkpoint holds beside the variables."""

    fingerprint: Sha256
    position: Position


class Checkpoints:
    """The checkpoints of one training."""

    def __init__(self, folder: Path, fingerprint: Sha256) -> None:
        """Keep them in `folder`, which belongs to the training with this fingerprint."""
        self.folder = folder
        self._fingerprint = fingerprint
        self._due = time.monotonic() + CHECKPOINT_SECONDS
        self._sound: Path | None = None  # the newest one that was read back and found undamaged

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() >= self._due

    def save(self, state: TrainingState) -> None:
        """Store a state; then delete all but it and the undamaged one before it."""
        started = time.monotonic()
        content = encode_state(state, self._fingerprint)
        digest = hashlib.sha256(content).hexdigest()
        position = state.position
        path = self.folder / f"{position.epoch:06d}-{position.step:06d}-{digest}.npz"
        write_bytes(path, content)
        if path != self._sound and sha256_of_file(path) == digest:
            for old in set(self._stored()) - {path, self._sound}:
                old.unlink()
            self._sound = path
        now = time.monotonic()
        self._due = now + max(CHECKPOINT_SECONDS, (now - started) / MAX_COST)

    def load(self) -> TrainingState | None:
        """The newest state that is undamaged and of this training, or None."""
        for path in self._stored():
            try:
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() != path.stem[-64:]:
                    raise StepError("its bytes do not have the SHA-256 in its name")
                state = decode_state(content, self._fingerprint)
            except (OSError, ValueError, KeyError, StepError) as error:
                logger.warning(
                    "Checkpoint %s cannot be used (%s): trying the one before it, then the start",
                    path.name[:13],
                    error,
                )
            else:
                self._sound = path
                return state
        return None

    def clear(self) -> None:
        """Delete everything: the training is complete."""
        for path in self.folder.glob("*"):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()

    def _stored(self) -> list[Path]:
        """Stored checkpoints, newest first."""
        return sorted(
            (path for path in self.folder.glob("*.npz") if NAME.fullmatch(path.name)), reverse=True
        )


def encode_state(state: TrainingState, fingerprint: Sha256) -> bytes:
    """A state as the bytes of an `.npz` file; equal states give equal bytes."""
    header = Header(fingerprint=fingerprint, position=state.position).model_dump_json().encode()
    buffer = io.BytesIO()
    np.savez(buffer, *state.variables, header=np.frombuffer(header, np.uint8), allow_pickle=False)
    return buffer.getvalue()


def decode_state(content: bytes, fingerprint: Sha256) -> TrainingState:
    """The state in the bytes of a checkpoint.

    Raises:
        StepError: it belongs to another training.
        ValueError, KeyError: it is not a checkpoint.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        header = Header.model_validate_json(archive["header"].tobytes())
        variables = [archive[f"arr_{i}"] for i in range(len(archive.files) - 1)]
    if header.fingerprint != fingerprint:
        raise StepError(f"it belongs to another training, {header.fingerprint[:12]}")
    return TrainingState(header.position, variables)
