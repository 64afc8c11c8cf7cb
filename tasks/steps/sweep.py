"""The steps of `flows/sweep.py`; what it shares with a run is in `tasks/steps/retrain.py`."""

import logging
from collections.abc import Sequence

from tasks.core.errors import ModelError
from tasks.core.records import DatasetRecord, DeviceChoice, FigureRecord
from tasks.core.storage import prepare_artifacts_folder
from tasks.evaluation.records import Baselines
from tasks.models.checkpoints import Progress
from tasks.models.obtain import TrainingStoppedError, obtain_model
from tasks.models.spec import TrainingSpec
from tasks.parameters.sweep import SweepParameters
from tasks.steps.prefect_artifacts import show_results
from tasks.steps.progress import log_progress
from tasks.steps.runners import watch_for_stop
from tasks.steps.step import CurrentRun, step
from tasks.sweeps import results as sweep_results
from tasks.sweeps.records import (
    CHART_FILE,
    MARKDOWN_FILE,
    FailedPoint,
    Sweep,
    SweepPoint,
    SweepRecord,
    sweep_folder,
)

logger = logging.getLogger(__name__)


@step("Look for an earlier attempt")
def find_earlier_attempt(run: str) -> Sweep | None:
    """The sweep if an earlier attempt completed it."""
    return sweep_results.find_completed_sweep(run, prepare_artifacts_folder())


@step(
    "Train the {spec.architecture.name} model, code size {spec.architecture.code_size}, "
    "seed {spec.seed}",
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
    show = log_progress(f"{architecture.name}-{architecture.code_size}, seed {spec.seed}")
    is_stopping = watch_for_stop()

    def report(progress: Progress) -> None:
        if is_stopping():
            raise TrainingStoppedError("the sweep was interrupted")
        show(progress)

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


@step("Compare the models")
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
    chart = FigureRecord(path=CHART_FILE, title="Chart", text="Loss and error by code size")
    report = sweep_folder(run.name, root) / MARKDOWN_FILE
    show_results(f"sweep-{dataset.name}", f"Sweep {run.name}", report, [chart])
    return sweep
