"""The steps that a person sees in a run: each loads, calls functions of `tasks`, and saves.

TensorFlow and Matplotlib are imported where they are needed, so that a run can start, and fail
early, without them.
"""

import logging
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from tasks.codes.published import PublishedRun, open_published, open_run, run_folder
from tasks.codes.reader import is_sound, open_codes
from tasks.core.records import (
    DatasetRecord,
    DeviceChoice,
    DeviceKind,
    FigureList,
    FigureRecord,
    FileRecord,
    Split,
)
from tasks.core.storage import describe_file, load_or_compute, prepare_artifacts_folder
from tasks.encoding.neighbors import NeighborsRecord, obtain_neighbors
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.records import Baselines, Metrics
from tasks.images import dataset as datasets
from tasks.models.fingerprint import fingerprint_of
from tasks.models.obtain import obtain_model
from tasks.models.spec import TrainingSpec
from tasks.models.state import Progress
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.neighbors import CodesParameters
from tasks.parameters.retrain import RunParameters
from tasks.reports.report import MARKDOWN_FILE, render_files
from tasks.runs import lookup, publication
from tasks.runs.building import ATTEMPT_FOLDER, building_folder
from tasks.runs.lookup import published_run
from tasks.runs.manifest import Manifest, RunRecord
from tasks.steps.events import announce
from tasks.steps.log_lines import amount
from tasks.steps.progress import show_progress
from tasks.steps.retries import DELAYS, JITTER, RETRIES, is_transient
from tasks.steps.timing import record_duration
from tasks.steps.ui import progress_artifact, show_run

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task with this name, in which its parameters may stand.

    What is done already is found on the disk, so Prefect's own result cache stays off.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.monotonic()
            result = function(*args, **kwargs)
            seconds = time.monotonic() - started
            shown = task_run.get_name() or name
            record_duration(shown, seconds)
            logger.info(
                "%s: %s", shown, ", ".join(filter(None, (amount(result), f"{seconds:.1f} s")))
            )
            return result

        return task(
            task_run_name=name,
            cache_policy=NO_CACHE,
            retries=RETRIES,
            retry_delay_seconds=DELAYS,
            retry_jitter_factor=JITTER,
            retry_condition_fn=is_transient,
        )(timed)

    return decorate


@step("Choose the device")
def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Decide where to compute."""
    from tasks.models import device

    return device.choose_device(requested)


@step("Fetch and verify the dataset")
def fetch_dataset(parameters: DataParameters) -> DatasetRecord:
    """Get the images, from the first source that serves."""
    return datasets.fetch_dataset(
        parameters.dataset,
        parameters.source,
        prepare_artifacts_folder(),
        test_share=parameters.test_share,
        split_seed=parameters.split_seed,
        class_names=parameters.class_names,
    )


@step("Look for what an earlier attempt completed")
def finish_run(run: str) -> Manifest | None:
    """The run's manifest, if an earlier attempt came as far as that; tells its outcome again."""
    root = prepare_artifacts_folder()
    manifest = publication.finish_run(run, root)
    if manifest:
        _tell(manifest, root)
    return manifest


def _tell(manifest: Manifest, root: Path) -> None:
    """Announce a run's outcome; a run that another took the place of is no news."""
    if not manifest.verdict.published or published_run(manifest.dataset.name, root) == manifest.run:
        announce(manifest)
    publication.raise_if_refused(manifest)


@step("Compare with the published run")
def find_unchanged(
    parameters: RunParameters,
    dataset: DatasetRecord,
    specs: list[TrainingSpec],
    device: DeviceKind,
) -> Manifest | None:
    """The published run, if this one would only repeat it."""
    if parameters.quick or parameters.retrain:
        return None
    fingerprints = [fingerprint_of(dataset, spec, device) for spec in specs]
    return lookup.find_unchanged(fingerprints, dataset, prepare_artifacts_folder())


@step("Train the {spec.architecture.name} model")
def train_model(
    dataset: DatasetRecord, spec: TrainingSpec, device: DeviceKind, retrain: bool
) -> ModelRecord:
    """Train an autoencoder and extract its encoder, unless that was done before."""
    with show_progress(spec) as show, progress_artifact(spec.architecture.name) as move:

        def report(progress: Progress) -> None:
            show(progress)
            move(progress)

        return obtain_model(dataset, spec, device, prepare_artifacts_folder(), report, retrain)


@step("Encode the {split} images")
def encode_images(
    run: str, split: Split, dataset: DatasetRecord, models: list[ModelRecord]
) -> FileRecord:
    """Write the codes file of a split, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    folder = building_folder(run, root)
    name = f"codes/{split}.h5"
    if not is_sound(folder / name):
        from tasks.encoding.encoder import encode_split

        encode_split(split, dataset, models, folder / name, root)
    return describe_file(folder, name)


@step("Measure the images themselves")
def measure_images(dataset: DatasetRecord, models: list[ModelRecord]) -> Baselines:
    """What any model of these images is compared with; computed once for each dataset."""
    code_sizes = {model.spec.architecture.code_size for model in models}
    return obtain_baselines(dataset, code_sizes, prepare_artifacts_folder())


@step("Evaluate the {model.name} model")
def evaluate_model(
    run: str, model: ModelRecord, dataset: DatasetRecord, baselines: Baselines
) -> Metrics:
    """Measure how good the model is on the test images, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    folder = building_folder(run, root)

    def evaluate() -> Metrics:
        from tasks.evaluation.evaluate import evaluate_model

        codes = folder / "codes"
        with open_codes(codes / "train.h5") as train, open_codes(codes / "test.h5") as test:
            return evaluate_model(model, dataset, baselines, {"train": train, "test": test}, root)

    path = folder / ATTEMPT_FOLDER / f"metrics-{model.name}.json"
    return load_or_compute(path, Metrics, evaluate)


@step("Draw the figures")
def draw_figures(
    run: str, dataset: DatasetRecord, models: list[ModelRecord], metrics: dict[str, Metrics]
) -> list[FigureRecord]:
    """Draw the lab's figures and those of the report, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    folder = building_folder(run, root)

    def draw() -> FigureList:
        from tasks.reports import figures

        return FigureList(tuple(figures.draw_figures(dataset, models, metrics, folder, root)))

    return list(load_or_compute(folder / ATTEMPT_FOLDER / "figures.json", FigureList, draw).root)


@step("Publish the run")
def publish_run(record: RunRecord) -> Manifest:
    """Complete the run folder, judge it, and make it what downstream jobs read."""
    root = prepare_artifacts_folder()
    manifest = publication.finish_run(record.run, root)
    if manifest is None:
        manifest = publication.complete_run(record, root, render_files)
    folder = run_folder(manifest.run, root)
    show_run(manifest, folder, (folder / MARKDOWN_FILE).read_text())
    _tell(manifest, root)
    return manifest


@step("Find the codes")
def find_codes(parameters: CodesParameters) -> PublishedRun:
    """Open the named run, or the published one if no run is named."""
    root = prepare_artifacts_folder()
    return (
        open_run(parameters.run, root)
        if parameters.run
        else open_published(parameters.dataset, root)
    )


@step("Search the nearest neighbours")
def search_neighbors(run: PublishedRun) -> NeighborsRecord:
    """Write the nearest training codes of every test code, for each model."""
    return obtain_neighbors(run, prepare_artifacts_folder())
