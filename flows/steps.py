"""The steps that a person sees in a run: each loads, calls functions of `tasks`, and saves.

TensorFlow and Matplotlib are imported where they are needed, so that a run can start, and fail
early, without them.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from flows.progress import show_progress
from flows.timing import record_duration
from tasks import dataset as datasets
from tasks import publication
from tasks.codes import Codes, read_codes
from tasks.evaluation import count_live_units, entropy_floor
from tasks.models import ModelRecord, fingerprint_of, obtain_model
from tasks.parameters import DataParameters, Parameters, RunParameters
from tasks.publication import Manifest
from tasks.recipes import TrainingSpec
from tasks.records import DatasetRecord, DeviceChoice, DeviceKind, FileRecord, Metrics, Split
from tasks.storage import artifacts_root, describe_file

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
            record_duration(task_run.get_name() or name, seconds)
            logger.info("Done in %.1f s", seconds)
            return result

        return task(task_run_name=name, cache_policy=NO_CACHE)(timed)

    return decorate


@step("Choose the device")
def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Decide where to compute."""
    from tasks import device

    return device.choose_device(requested)


@step("Fetch and verify the dataset")
def fetch_dataset(parameters: DataParameters) -> DatasetRecord:
    """Get the images, from the first source that serves."""
    return datasets.fetch_dataset(parameters, artifacts_root())


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
    return publication.find_unchanged(fingerprints, dataset.name, artifacts_root())


@step("Train the {spec.architecture.name} model")
def train_model(
    dataset: DatasetRecord, spec: TrainingSpec, device: DeviceKind, retrain: bool
) -> ModelRecord:
    """Train an autoencoder and extract its encoder, unless that was done before."""
    with show_progress(spec) as report:
        return obtain_model(dataset, spec, device, artifacts_root(), report, retrain)


@step("Encode the {split} images")
def encode_images(
    run: str, split: Split, dataset: DatasetRecord, models: list[ModelRecord]
) -> FileRecord:
    """Write the codes file of a split."""
    from tasks.encoding import encode_split

    root = artifacts_root()
    folder = publication.building_folder(run, root)
    name = f"codes/{split}.h5"
    encode_split(split, dataset, models, folder / name, root)
    return describe_file(folder, name)


@step("Evaluate the models")
def evaluate_models(
    run: str, codes: FileRecord, dataset: DatasetRecord, models: list[ModelRecord]
) -> dict[str, Metrics]:
    """Measure how good each model is on the test images."""
    root = artifacts_root()
    path = publication.building_folder(run, root) / codes.path
    floor = entropy_floor(datasets.open_images(dataset, "test", root), dataset.scale)
    return {model.name: _measure(model, read_codes(path, model.name), floor) for model in models}


def _measure(model: ModelRecord, codes: Codes, floor: float) -> Metrics:
    return Metrics(
        validation_loss=model.validation_loss,
        entropy_floor=floor,
        reconstruction_mse=float(codes.reconstruction_mse.mean()),
        live_units=count_live_units(codes.codes),
    )


@step("Draw the figures")
def draw_figures(run: str, dataset: DatasetRecord, models: list[ModelRecord]) -> None:
    """Draw the lab's figures and the comparisons."""
    from tasks import illustration

    root = artifacts_root()
    folder = publication.building_folder(run, root)
    illustration.draw_figures(dataset, models, folder / "figures", root)


@step("Publish the run")
def publish_run(
    run: str,
    started: datetime,
    parameters: Parameters,
    dataset: DatasetRecord,
    models: list[ModelRecord],
    metrics: dict[str, Metrics],
) -> Manifest:
    """Complete the run folder and make it what downstream jobs read."""
    return publication.complete_run(
        run, started, parameters, dataset, models, metrics, artifacts_root()
    )
