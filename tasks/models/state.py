"""Where a training stands: for checkpoints, and for people."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from tasks.core.records import EpochRecord, Record


class Position(Record):
    """How far a training has come."""

    epoch: int = 0
    segment: int = 0
    """The next segment to train, in `epoch`."""
    loss_sum: float = 0.0
    loss_rows: int = 0
    """Sampled rows of the epoch so far, and the sum of their losses per pixel."""
    history: tuple[EpochRecord, ...] = ()
    """One record for each finished epoch."""


class TrainingState(NamedTuple):
    """A training between two segments."""

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
