"""The steps of `flows/sweep.py`; what it shares with a run is in `tasks/steps/retrain.py`."""

from pathlib import Path

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from tasks.core.records import DatasetRecord, DeviceChoice
from tasks.core.storage import prepare_artifacts_folder
from tasks.evaluation.records import Baselines
from tasks.models.obtain import TrainingStoppedError, obtain_model
from tasks.models.spec import TrainingSpec
from tasks.models.state import Progress
from tasks.parameters.sweep import SweepParameters
from tasks.steps.prefect_artifacts import PICTURE, failures_logged, thumbnail
from tasks.steps.progress import log_progress
from tasks.steps.runners import watch_for_stop
from tasks.steps.step import CurrentRun, step
from tasks.sweeps import results as sweep_results
from tasks.sweeps.records import (
    CHART_FILE,
    MARKDOWN_FILE,
    Sweep,
    SweepPoint,
    SweepRecord,
    sweep_folder,
)


@step("Look for an earlier attempt")
def find_earlier_attempt(run: str) -> Sweep | None:
    """The sweep if an earlier attempt completed it."""
    return sweep_results.finish_sweep(run, prepare_artifacts_folder())


@step(
    "Train the {spec.architecture.name} model, code size {spec.architecture.code_size}, "
    "seed {spec.seed}",
)
def train_point(
    run: str, dataset: DatasetRecord, spec: TrainingSpec, requested: DeviceChoice
) -> SweepPoint:
    """Train and measure one model of the grid, unless that was done before."""
    from tasks.models.device import choose_device  # loads TensorFlow, once for each process

    root = prepare_artifacts_folder()
    architecture = spec.architecture
    show = log_progress(f"{architecture.name}-{architecture.code_size}, seed {spec.seed}")
    is_stopping = watch_for_stop()

    def report(progress: Progress) -> None:
        if is_stopping():
            raise TrainingStoppedError("the sweep was interrupted")
        show(progress)

    model = obtain_model(dataset, spec, choose_device(requested), root, report)
    return sweep_results.obtain_point(run, model, dataset, root)


@step("Compare the models")
def complete_sweep(
    run: CurrentRun,
    parameters: SweepParameters,
    dataset: DatasetRecord,
    baselines: Baselines,
    points: list[SweepPoint],
) -> Sweep:
    """Write table and chart, and show them in the UI."""
    root = prepare_artifacts_folder()
    record = SweepRecord(
        run=run.name,
        started=run.started,
        parameters=parameters,
        dataset=dataset,
        baselines=baselines,
        points=tuple(points),
    )
    sweep = sweep_results.complete_sweep(record, root)
    show_sweep(sweep, sweep_folder(sweep.run, root))
    return sweep


def show_sweep(sweep: Sweep, folder: Path) -> None:
    """Show the table and the chart of a finished sweep's folder in the UI."""
    key = f"sweep-{sweep.dataset.name}"
    with failures_logged("about the results"):
        text = (folder / MARKDOWN_FILE).read_text()
        create_markdown_artifact(PICTURE.sub("", text), f"{key}-report", f"Sweep {sweep.run}")
        create_image_artifact(thumbnail(folder / CHART_FILE), f"{key}-chart", "Loss by code size")
