"""The main job: retrain the autoencoders, encode all images, publish everything at once."""

import sys

from prefect import flow

from tasks.codes.published import artifacts_folder
from tasks.core.records import SPLITS
from tasks.models.store import ModelRecord
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import GateParameters, Parameters, RunParameters
from tasks.parameters.training import ModelParameters, TrainingParameters
from tasks.reports.inspections.page import InspectionRecord
from tasks.runs.lookup import expects_training
from tasks.runs.manifest import Outcome
from tasks.steps import retrain as steps
from tasks.steps.step import CurrentRun, current_run


@flow(name="retrain", description=__doc__)
def retrain(
    data: DataParameters = DataParameters(),
    models: ModelParameters = ModelParameters(),
    training: TrainingParameters = TrainingParameters(),
    gate: GateParameters = GateParameters(),
    run: RunParameters = RunParameters(),
) -> Outcome | InspectionRecord:
    """Retrain the shallow, then the deep autoencoder, then others; publish their codes.

    Args:
        data: which images to learn from.
        models: which models to train beside the shallow and the deep one.
        training: how to train them.
        gate: what the run must reach to be published.
        run: what to do with the results.
    """
    parameters = Parameters(data=data, models=models, training=training, gate=gate, run=run)
    with current_run() as current:
        return run_steps(current, parameters)


def run_steps(run: CurrentRun, parameters: Parameters) -> Outcome | InspectionRecord:
    """The steps, in order."""
    if parameters.run.inspect:
        return steps.inspect_source(parameters.data)
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
        modules,
        lambda parameters: expects_training(parameters, artifacts_folder()),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
