"""The steps of a sweep that a person sees; those of the grid run where the deployment says."""

from tasks.core.records import DatasetRecord, DeviceChoice
from tasks.core.storage import prepare_artifacts_folder
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.records import Baselines
from tasks.models.obtain import TrainingStoppedError, obtain_model
from tasks.models.spec import TrainingSpec
from tasks.models.state import Progress
from tasks.steps.progress import log_progress
from tasks.steps.retrain import step
from tasks.steps.runners import watch_for_abandonment
from tasks.steps.ui import show_sweep
from tasks.sweeps import results as sweep_results
from tasks.sweeps.records import Sweep, SweepPoint, SweepRecord, sweep_folder


@step("Look for what an earlier attempt completed")
def finish_sweep(run: str) -> Sweep | None:
    """The sweep, if an earlier attempt completed it."""
    return sweep_results.finish_sweep(run, prepare_artifacts_folder())


@step("Measure the images themselves")
def measure_images(dataset: DatasetRecord, code_sizes: tuple[int, ...]) -> Baselines:
    """What the models are compared with; computed once for each dataset."""
    return obtain_baselines(dataset, set(code_sizes), prepare_artifacts_folder())


@step(
    "Train the {spec.architecture.name} model, code size {spec.architecture.code_size}, "
    "seed {spec.seed}"
)
def train_point(
    run: str, dataset: DatasetRecord, spec: TrainingSpec, requested: DeviceChoice
) -> SweepPoint:
    """Train and measure one model of the grid, unless that was done before."""
    from tasks.models.device import choose_device  # loads TensorFlow, once for each process

    root = prepare_artifacts_folder()
    architecture = spec.architecture
    show = log_progress(f"seed {spec.seed}, {architecture.name}-{architecture.code_size}")
    abandoned = watch_for_abandonment()

    def report(progress: Progress) -> None:
        if abandoned():
            raise TrainingStoppedError
        show(progress)

    model = obtain_model(dataset, spec, choose_device(requested), root, report)
    return sweep_results.obtain_point(run, model, dataset, root)


@step("Compare the models")
def complete_sweep(record: SweepRecord) -> Sweep:
    """Write table and chart, and show them."""
    root = prepare_artifacts_folder()
    sweep = sweep_results.complete_sweep(record, root)
    show_sweep(sweep, sweep_folder(sweep.run, root))
    return sweep
