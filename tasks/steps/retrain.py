"""The steps of `flows/retrain.py`: each loads, calls functions of `tasks`, and saves.

TensorFlow and Matplotlib are imported where they are needed, so that a run starts, and fails
early, without them.
"""

from tasks.codes.reader import CodesFile, is_valid, open_codes
from tasks.core.records import (
    SPLITS,
    DatasetRecord,
    DeviceChoice,
    DeviceKind,
    FigureList,
    FigureRecord,
    FileRecord,
    Split,
)
from tasks.core.storage import describe_file, load_or_compute, prepare_artifacts_folder
from tasks.encoding.export import codes_file, obtain_encoder, write_arrays
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.records import Baselines, Metrics
from tasks.images import dataset as datasets
from tasks.models.spec import TrainingSpec
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import Parameters, RunParameters
from tasks.reports.inspections.page import InspectionRecord, raise_faults, write_inspection
from tasks.reports.report import render_files
from tasks.runs import anchors, lookup, outbox, publication
from tasks.runs.anchors import TrainingContext
from tasks.runs.building import (
    ATTEMPT_FOLDER,
    begin_run,
    building_folder,
    discard_building,
    read_waiting,
)
from tasks.runs.gate import Person
from tasks.runs.manifest import Approval, Outcome, RunRecord
from tasks.steps import log_lines
from tasks.steps.events import CONFIRMED, announce, announce_publication
from tasks.steps.outcome import announce_outcome, show_outcome
from tasks.steps.prefect_artifacts import show_history, show_text
from tasks.steps.progress import show_progress
from tasks.steps.server import end_if_unwanted
from tasks.steps.step import CurrentRun, costs_so_far, step
from tasks.stores import copying, restoring, state
from tasks.stores.store import configured_store

STAGES = ("dataset", "train", "encode", "evaluate", "figures", "publish")
"""Of the steps that people wait for, in their order."""


@step("Look for an earlier attempt", "resume", log_lines.summarize_earlier)
def find_earlier_attempt(run: str) -> Outcome | None:
    """The outcome of the run if an earlier attempt completed it; announces it again.

    Also if it waits for a person since.
    """
    root = prepare_artifacts_folder()
    if waiting := read_waiting(run, root):
        return Outcome(manifest=waiting, unchanged=False)
    manifest = publication.resume_publication(run, root)
    return announce_outcome(manifest, root) if manifest else None


@step("Choose the device", "device")
def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Decide where to compute."""
    from tasks.core import device

    return device.choose_device(requested)


@step("Inspect the images", "inspect")
def inspect_source(parameters: DataParameters) -> InspectionRecord:
    """Read all images and report what they are; nothing is stored but the report.

    Raises:
        StepError: a run would be refused; the report has all reasons.
    """
    root = prepare_artifacts_folder()
    arguments = dict(parameters)
    found = datasets.inspect_source(
        arguments.pop("dataset"), arguments.pop("source"), root, **arguments
    )
    record = write_inspection(found, root)
    show_text(record.text, f"inspection-{record.dataset}", f"Images of {record.dataset}")
    raise_faults(found, record, root)
    return record


@step("Fetch and verify the dataset", "dataset", log_lines.summarize_dataset)
def fetch_dataset(parameters: DataParameters) -> DatasetRecord:
    """Get the images from the first source that has them."""
    return datasets.fetch_dataset(
        parameters.dataset,
        parameters.source,
        prepare_artifacts_folder(),
        test_share=parameters.test_share,
        split_seed=parameters.split_seed,
        class_names=parameters.class_names,
    )


@step("Choose the coordinate systems", "basis")
def choose_anchors(
    run: str,
    parameters: Parameters,
    dataset: DatasetRecord,
    specs: list[TrainingSpec],
    device: DeviceKind,
) -> TrainingContext:
    """Decide which models keep the coordinate system of the published codes."""
    root = prepare_artifacts_folder()
    chosen = anchors.obtain_anchors(run, parameters, dataset, specs, root)
    return TrainingContext(run, dataset, device, chosen)


@step("Check whether anything would change", "compare", log_lines.summarize_earlier)
def find_unchanged(
    context: TrainingContext, parameters: RunParameters, specs: list[TrainingSpec]
) -> Outcome | None:
    """The published run if this one would only repeat it, which confirms it.

    Announces what is published if nobody did.
    """
    root = prepare_artifacts_folder()
    announce_publication(context.dataset.name, root)
    if parameters.quick or parameters.retrain:
        return None
    fingerprints = anchors.plan_fingerprints(context, specs, root)
    manifest = lookup.find_unchanged(fingerprints, context.dataset, root) if fingerprints else None
    if manifest is None:
        return None
    if outbox.confirm(manifest, root):
        announce(manifest, CONFIRMED)
    show_history(manifest.dataset.name, root)
    discard_building(context.run, root)
    return Outcome(manifest=manifest, unchanged=True)


@step(
    "Train the {spec.architecture.name} model",
    "train",
    log_lines.summarize_model,
    "{spec.architecture.name}",
)
def train_model(
    context: TrainingContext, spec: TrainingSpec, earlier: list[ModelRecord], retrain: bool
) -> ModelRecord:
    """Train an autoencoder and extract its encoder, unless that was done before.

    Args:
        earlier: the models of the run that are trained already; their basis may be taken.
    """
    root = prepare_artifacts_folder()
    copied = state.training_copied(context, spec, earlier, root)
    with show_progress(spec.architecture.name) as report, copied:
        return anchors.obtain_model_in_basis(context, spec, earlier, root, report, retrain)


@step("Encode the {split} images", "encode", log_lines.summarize_file, "{split}")
def encode_images(
    run: str, split: Split, dataset: DatasetRecord, models: list[ModelRecord]
) -> FileRecord:
    """Write the codes of a split, unless an earlier attempt with these models did.

    The arrays beside the codes file are always written: that takes no longer than to check them.
    """
    root = prepare_artifacts_folder()
    begin_run(run, dataset, models, root)
    folder, name = building_folder(run, root), codes_file(split)
    if not is_valid(folder / name):
        from tasks.encoding.encoder import encode_split

        encode_split(split, dataset, models, folder / name, root)
    write_arrays(split, models, folder)
    return describe_file(folder, name)


@step("Export the encoders", "encode", subject="for readers without TensorFlow")
def export_encoders(run: str, dataset: DatasetRecord, models: list[ModelRecord]) -> None:
    """Write the encoders for readers without TensorFlow, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    begin_run(run, dataset, models, root)
    for model in models:
        obtain_encoder(model, dataset, building_folder(run, root), root)


@step("Compute the baselines", "evaluate", log_lines.summarize_baselines, "baselines")
def compute_baselines(dataset: DatasetRecord, specs: list[TrainingSpec]) -> Baselines:
    """What models with these code sizes are compared with; computed once for each dataset."""
    code_sizes = {spec.architecture.code_size for spec in specs}
    return obtain_baselines(dataset, code_sizes, prepare_artifacts_folder())


@step("Evaluate the {model.name} model", "evaluate", log_lines.summarize_metrics, "{model.name}")
def evaluate_model(
    run: str,
    model: ModelRecord,
    dataset: DatasetRecord,
    baselines: Baselines,
    codes: dict[Split, FileRecord],
) -> Metrics:
    """Measure how good the model is on the test images, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    folder = building_folder(run, root)

    def evaluate() -> Metrics:
        from tasks.evaluation.evaluate import evaluate_model

        train, test = (codes[split] for split in SPLITS)
        with (
            open_codes(folder / train.path, train.sha256) as train_file,
            open_codes(folder / test.path, test.sha256) as test_file,
        ):
            files: dict[Split, CodesFile] = {"train": train_file, "test": test_file}
            return evaluate_model(model, dataset, baselines, files, root)

    path = folder / ATTEMPT_FOLDER / f"metrics-{model.name}.json"
    return load_or_compute(path, Metrics, evaluate)


@step("Draw the figures", "figures", log_lines.summarize_figures)
def draw_figures(
    run: str,
    dataset: DatasetRecord,
    models: list[ModelRecord],
    metrics: dict[str, Metrics],
    codes: dict[Split, FileRecord],
) -> tuple[FigureRecord, ...]:
    """Draw the figures of the report, unless an earlier attempt did."""
    root = prepare_artifacts_folder()
    folder = building_folder(run, root)

    def draw() -> FigureList:
        from tasks.reports.figures import drawing

        return FigureList(
            tuple(drawing.draw_figures(dataset, models, metrics, codes, folder, root))
        )

    return load_or_compute(folder / ATTEMPT_FOLDER / "figures.json", FigureList, draw).root


@step("Publish the run if it is good enough", "publish", log_lines.summarize_outcome)
def publish_run(
    run: CurrentRun,
    parameters: Parameters,
    dataset: DatasetRecord,
    baselines: Baselines,
    models: list[ModelRecord],
    codes: dict[Split, FileRecord],
    metrics: dict[str, Metrics],
    figures: tuple[FigureRecord, ...],
) -> Outcome:
    """Complete the run's folder and judge it; a run that passes becomes the published one."""
    root = prepare_artifacts_folder()
    record = RunRecord(
        run=run.name,
        started=run.started,
        parameters=parameters.model_dump(mode="json"),
        dataset=dataset,
        baselines=baselines,
        models=tuple(models),
        metrics=metrics,
        figures=figures,
        costs=costs_so_far(),
    )
    end_if_unwanted()
    manifest = publication.resume_publication(run.name, root)
    if manifest is None:
        person = Person(can_be_asked=run.can_wait)
        manifest = publication.complete_run(record, root, render_files, codes.values(), person)
    return show_outcome(manifest, root)


@step("Publish or refuse the run", "publish", log_lines.summarize_outcome)
def settle_run(waiting: Outcome, approval: Approval) -> Outcome:
    """Compare a run that waited for a person anew, and do what they decided.

    It waits again where something else is published than what the person compared it with.
    """
    root = prepare_artifacts_folder()
    end_if_unwanted()
    return show_outcome(publication.settle(waiting.manifest, approval, root, render_files), root)


@step("Fetch what the object store has", "restore", log_lines.summarize_restored)
def restore_published(dataset: str) -> str | None:
    """Fetch the run that is published in the store, unless one is published here."""
    return restoring.restore_published(dataset, prepare_artifacts_folder(), configured_store())


@step("Copy to the object store", "store", log_lines.summarize_copy)
def copy_to_store(dataset: str) -> copying.Copied | None:
    """Copy what is published, unless the store has it; a failure loses nothing."""
    return copying.copy_published(dataset, prepare_artifacts_folder(), configured_store())
