"""The main job: retrain both autoencoders, encode all images, publish everything at once."""

import sys
from datetime import UTC, datetime

from prefect import flow
from prefect.runtime import flow_run

from tasks.core.records import SPLITS
from tasks.core.storage import prepare_artifacts_folder
from tasks.parameters.images import DataParameters
from tasks.parameters.retrain import GateParameters, Parameters, RunParameters
from tasks.parameters.training import ModelParameters, TrainingParameters
from tasks.runs.building import begin_run, run_in_progress
from tasks.runs.manifest import Outcome, RunRecord
from tasks.steps import retrain as steps


@flow(name="retrain", description=__doc__)
def retrain(
    data: DataParameters = DataParameters(),
    models: ModelParameters = ModelParameters(),
    training: TrainingParameters = TrainingParameters(),
    gate: GateParameters = GateParameters(),
    run: RunParameters = RunParameters(),
) -> Outcome:
    """Retrain the shallow, then the deep autoencoder, then others; publish their codes.

    Args:
        data: which images to learn from.
        models: which models learn beside the shallow and the deep one.
        training: how they learn.
        gate: what the run must reach to be published.
        run: what to do with the results.
    """
    parameters = Parameters(data=data, models=models, training=training, gate=gate, run=run)
    name = str(flow_run.get_id())
    with run_in_progress(name, prepare_artifacts_folder()):
        return make_run(name, parameters)


def make_run(name: str, parameters: Parameters) -> Outcome:
    """The steps, in order."""
    started = datetime.now(UTC)
    if finished := steps.finish_run(name):
        return Outcome(manifest=finished, unchanged=False)

    device = steps.choose_device(parameters.training.device)
    dataset = steps.fetch_dataset(parameters.data)
    specs = parameters.specs()
    if published := steps.find_unchanged(parameters.run, dataset, specs, device):
        return Outcome(manifest=published, unchanged=True)

    models = [steps.train_model(dataset, spec, device, parameters.run.retrain) for spec in specs]
    begin_run(name, models, prepare_artifacts_folder())
    for split in SPLITS:
        steps.encode_images(name, split, dataset, models)
    baselines = steps.measure_images(dataset, models)
    metrics = {
        model.name: steps.evaluate_model(name, model, dataset, baselines) for model in models
    }
    figures = steps.draw_figures(name, dataset, models, metrics)
    manifest = steps.publish_run(
        RunRecord(
            run=name,
            started=started,
            parameters=parameters,
            dataset=dataset,
            baselines=baselines,
            models=tuple(models),
            metrics=metrics,
            figures=tuple(figures),
        )
    )
    return Outcome(manifest=manifest, unchanged=False)


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal.command_line import parse, run_from_command_line
    from flows.terminal.summary import print_outcome

    parameters = parse(retrain, Parameters, arguments)
    modules = ("tasks.encoding.encoder", "tasks.models.training")
    return run_from_command_line(retrain, parameters, print_outcome, modules)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
