"""The main job: retrain both autoencoders, encode the test images, publish everything at once."""

import sys
from datetime import UTC, datetime

from prefect import flow
from prefect.runtime import flow_run

from flows import steps
from tasks.parameters import DataParameters, Parameters, RunParameters, TrainingParameters
from tasks.publication import Outcome


@flow(name="retrain", description=__doc__)
def retrain(
    data: DataParameters = DataParameters(),
    training: TrainingParameters = TrainingParameters(),
    run: RunParameters = RunParameters(),
) -> Outcome:
    """Retrain the shallow, then the deep autoencoder, and publish their codes of the test images.

    Args:
        data: which images to learn from.
        training: how the two models learn.
        run: what to do with the results.
    """
    name, started = str(flow_run.get_id()), datetime.now(UTC)
    device = steps.choose_device(training.device)
    dataset = steps.fetch_dataset(data)
    specs = training.specs(run.quick)
    if published := steps.find_unchanged(run, dataset, specs, device):
        return Outcome(manifest=published, unchanged=True)

    models = [steps.train_model(dataset, spec, device, run.retrain) for spec in specs]
    codes = steps.encode_images(name, "test", dataset, models)
    metrics = steps.evaluate_models(name, codes, dataset, models)
    steps.draw_figures(name, dataset, models)
    parameters = Parameters(data=data, training=training, run=run)
    manifest = steps.publish_run(name, started, parameters, dataset, models, metrics)
    return Outcome(manifest=manifest, unchanged=False)


if __name__ == "__main__":
    from flows.command_line import run_from_command_line

    sys.exit(run_from_command_line(retrain, sys.argv[1:]))
