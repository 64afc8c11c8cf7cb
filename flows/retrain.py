"""The main job: retrain the autoencoders, encode all images, publish everything at once."""

import sys

from prefect import flow

from tasks.codes.published import artifacts_folder
from tasks.core.records import SPLITS
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters, Images
from tasks.parameters.retrain import Gate, GateParameters, Parameters, Run, RunParameters
from tasks.parameters.training import ModelParameters, Models, Training, TrainingParameters
from tasks.reports.inspections.page import InspectionRecord
from tasks.runs.lookup import expects_training
from tasks.runs.manifest import Outcome, describe_training
from tasks.steps import retrain as steps
from tasks.steps.outcome import ask_person, conclude, run_name
from tasks.steps.step import CurrentRun, current_run
from tasks.stores.store import is_configured

EXAMPLES = (
    ("", "retrain on Fashion-MNIST and publish the codes: a minute or two"),
    ("--quick", "one epoch of each model, to see that everything works; publishes nothing"),
    ("--dataset boots --source.picture-folder DIR", "learn from your own pictures"),
    (
        """--extra '{"name": "tiny", "hidden": [64], "code_size": 8}'""",
        "also train a model of your own",
    ),
)


@flow(
    name="retrain",
    description=__doc__,
    flow_run_name=run_name(
        lambda given: describe_training(given["data"].dataset, given["training"].seed)
    ),
)
def retrain(
    run: Run = RunParameters(),
    models: Models = ModelParameters(),
    training: Training = TrainingParameters(),
    data: Images = DataParameters(),
    gate: Gate = GateParameters(),
) -> Outcome | InspectionRecord:
    """Retrain the shallow, then the deep autoencoder, then others; publish their codes.

    Args:
        run: Train, publish, or only try it out.
        models: Which models to train beside the shallow and the deep one.
        training: How to train them.
        data: Which images to learn from.
        gate: What a run must reach to be published.
    """
    parameters = Parameters(data=data, models=models, training=training, gate=gate, run=run)
    with current_run() as current:
        if parameters.run.inspect:
            return steps.inspect_source(parameters.data)
        if is_configured():
            steps.restore_published(parameters.data.dataset)
        outcome = run_steps(current, parameters)
        copy_to_store(parameters)
    while outcome.manifest.verdict.waits:
        approval = ask_person(outcome)  # until somebody has decided, the process ends here
        with current_run():
            outcome = steps.settle_run(outcome, approval)
            copy_to_store(parameters)
    return conclude(outcome)


def copy_to_store(parameters: Parameters) -> None:
    """Copy what is published where there is an object store."""
    if is_configured():
        steps.copy_to_store(parameters.data.dataset)


def run_steps(run: CurrentRun, parameters: Parameters) -> Outcome:
    """The steps, in order."""
    if completed := steps.find_earlier_attempt(run.name):
        return completed
    device = steps.choose_device(parameters.training.device)
    dataset = steps.fetch_dataset(parameters.data)
    specs = parameters.specs()
    context = steps.choose_anchors(run.name, parameters, dataset, specs, device)
    options = parameters.run
    if unchanged := steps.find_unchanged(context, options, specs):
        return unchanged
    models: list[ModelRecord] = []
    for spec in specs:
        models += [steps.train_model(context, spec, models, options.retrain)]
    codes = {split: steps.encode_images(run.name, split, dataset, models) for split in SPLITS}
    steps.export_encoders(run.name, dataset, models)
    baselines = steps.compute_baselines(dataset, specs)
    metrics = {
        model.name: steps.evaluate_model(run.name, model, dataset, baselines, codes)
        for model in models
    }
    figures = steps.draw_figures(run.name, dataset, models, metrics, codes)
    return steps.publish_run(run, parameters, dataset, baselines, models, codes, metrics, figures)


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal import command_line, summary

    modules = ("tasks.encoding.encoder", "tasks.models.training")
    return command_line.run(
        retrain,
        Parameters,
        arguments,
        summary.print_result,
        lambda parameters: () if parameters.run.inspect else steps.STAGES,
        EXAMPLES,
        command_line.Imports(
            modules, lambda parameters: expects_training(parameters, artifacts_folder())
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
