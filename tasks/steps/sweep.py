"""The steps of `flows/sweep.py`; what it shares with a run is in `tasks/steps/retrain.py`."""

import logging
from collections.abc import Sequence

from tasks.core.errors import ModelError
from tasks.core.records import DatasetRecord, DeviceChoice
from tasks.core.storage import prepare_artifacts_folder
from tasks.evaluation.records import Baselines
from tasks.models.checkpoints import Progress
from tasks.models.obtain import TrainingStoppedError, obtain_model
from tasks.models.spec import TrainingSpec
from tasks.parameters.sweep import SweepParameters
from tasks.steps.observer import Facts
from tasks.steps.prefect_artifacts import show_results
from tasks.steps.progress import log_progress, tell_progress
from tasks.steps.runners import watch_for_stop
from tasks.steps.step import CurrentRun, step
from tasks.sweeps import results as sweep_results
from tasks.sweeps.records import (
    MARKDOWN_FILE,
    FailedPoint,
    Sweep,
    SweepPoint,
    SweepRecord,
    sweep_folder,
)

logger = logging.getLogger(__name__)


@step("Look for an earlier attempt", "resume")
def find_earlier_attempt(run: str) -> Sweep | None:
    """The sweep if an earlier attempt completed it."""
    return sweep_results.find_completed_sweep(run, prepare_artifacts_folder())


STAGES = ("dataset", "train", "compare")
"""Of the steps that people wait for, in their order."""


def summarize_point(point: SweepPoint | FailedPoint) -> Facts:
    """Its loss, or why there is none."""
    if isinstance(point, FailedPoint):
        return Facts(point.reason, "failed")
    return Facts(number=f"loss {point.model.validation_loss:.4f}")


@step(
    "Train the {spec.architecture.name} model, code size {spec.architecture.code_size}, "
    "seed {spec.seed}",
    "train",
    summarize_point,
    "{spec.architecture.name} {spec.architecture.code_size}, seed {spec.seed}",
)
def train_point(
    run: str, dataset: DatasetRecord, spec: TrainingSpec, requested: DeviceChoice
) -> SweepPoint | FailedPoint:
    """Train and measure one model of the grid, unless that was done before.

    A model that cannot be trained must not cost the others: it is logged and listed.
    """
    from tasks.core.device import choose_device  # loads TensorFlow, once for each process

    root = prepare_artifacts_folder()
    architecture = spec.architecture
    log = log_progress(f"{architecture.name}-{architecture.code_size}, seed {spec.seed}")
    tell = tell_progress()
    is_stopping = watch_for_stop()

    def report(progress: Progress) -> None:
        if is_stopping():
            raise TrainingStoppedError("the sweep was interrupted")
        log(progress)
        tell(progress)

    try:
        model = obtain_model(dataset, spec, choose_device(requested), root, report)
    except ModelError as error:
        logger.error("%s", error)
        return FailedPoint(
            architecture=architecture.name,
            code_size=architecture.code_size,
            seed=spec.seed,
            reason=str(error),
        )
    return sweep_results.obtain_point(run, model, dataset, root)


@step("Compare the models", "compare")
def complete_sweep(
    run: CurrentRun,
    parameters: SweepParameters,
    dataset: DatasetRecord,
    baselines: Baselines,
    points: Sequence[SweepPoint | FailedPoint],
) -> Sweep:
    """Write table and chart, and show them in the UI."""
    root = prepare_artifacts_folder()
    record = SweepRecord(
        run=run.name,
        started=run.started,
        parameters=parameters.model_dump(mode="json"),
        dataset=dataset,
        baselines=baselines,
        points=tuple(point for point in points if isinstance(point, SweepPoint)),
        failed=tuple(point for point in points if isinstance(point, FailedPoint)),
    )
    sweep = sweep_results.complete_sweep(record, root)
    report = sweep_folder(run.name, root) / MARKDOWN_FILE
    best = min((point.model.validation_loss for point in sweep.points), default=0.0)
    title = f"{len(sweep.points)} models, best loss {best:.4f}" if sweep.points else "No model"
    show_results(f"sweep-{dataset.name}", title, report)
    return sweep
