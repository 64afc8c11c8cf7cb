"""Where a training stands: for the disk, and for the person who watches."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from tasks.core.records import EpochRecord


class TrainingState(NamedTuple):
    """A training between two segments."""

    epoch: int
    segment: int
    """The next segment to work on, in `epoch`."""
    loss_sum: float
    loss_rows: int
    history: tuple[EpochRecord, ...]
    variables: list[NDArray[Any]]
    """Weights, then the optimizer's variables, in the order of Keras."""


class Progress(NamedTuple):
    """Where a training stands, for people."""

    steps_done: int
    steps: int
    epochs_done: int
    epochs: int
    history: tuple[EpochRecord, ...]
