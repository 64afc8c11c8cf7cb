"""The main job: retrain both autoencoders, encode the test images, publish everything at once."""

import sys
from datetime import UTC, datetime

from prefect import flow
from prefect.runtime import flow_run

from flows import steps
from tasks.parameters import DataParameters, Parameters, RunParameters, TrainingParameters
from tasks.publication import Manifest


@flow(name="retrain", description=__doc__)
def retrain(
    data: DataParameters = DataParameters(),
    training: TrainingParameters = TrainingParameters(),
    run: RunParameters = RunParameters(),
) -> Manifest:
    """Retrain the shallow, then the deep autoencoder, and publish their codes of the test images.

    Args:
        data: which images to learn from.
        training: how the two models learn.
        run: what to do with the results.
    """
    name, started = str(flow_run.get_id()), datetime.now(UTC)
    device = steps.choose_device(training.device)
    dataset = steps.fetch_dataset(data)
    models = [steps.train_model(dataset, spec, device) for spec in training.specs(run.quick)]
    codes = steps.encode_images(name, "test", dataset, models)
    metrics = steps.evaluate_models(name, codes, dataset, models)
    steps.draw_figures(name, dataset, models)
    parameters = Parameters(data=data, training=training, run=run)
    return steps.publish_run(name, started, parameters, dataset, models, metrics)


if __name__ == "__main__":
    from flows.command_line import run_from_command_line

    sys.exit(run_from_command_line(retrain, sys.argv[1:]))
