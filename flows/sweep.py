"""Many models at once: a grid of architectures, code sizes and seeds, trained and compared."""

import sys

from prefect import flow

from tasks.core.storage import prepare_artifacts_folder
from tasks.parameters.images import DataParameters, Images
from tasks.parameters.sweep import Grid, GridParameters, SweepParameters
from tasks.parameters.training import Training, TrainingParameters
from tasks.steps import sweep as steps
from tasks.steps.outcome import run_name
from tasks.steps.retrain import compute_baselines, fetch_dataset
from tasks.steps.runners import fan_out, gather
from tasks.steps.step import CurrentRun, current_run
from tasks.sweeps.records import MARKDOWN_FILE, Sweep, sweep_folder

EXAMPLES = (
    ("--code-sizes 8,16,32 --seeds 3", "18 models: two architectures, three sizes, three seeds"),
    ("--architectures wide --code-sizes 32", "one model of one architecture"),
)


@flow(
    name="sweep",
    description=__doc__,
    flow_run_name=run_name(lambda given: f"{given['data'].dataset}-sweep"),
)
def sweep(
    grid: Grid = GridParameters(),
    training: Training = TrainingParameters(),
    data: Images = DataParameters(),
) -> Sweep:
    """Train every model of a grid that was not trained before; compare their losses.

    Args:
        grid: Which models to train.
        training: How to train them.
        data: Which images to learn from.
    """
    parameters = SweepParameters(data=data, grid=grid, training=training)
    with current_run() as current:
        return run_steps(current, parameters)


def run_steps(run: CurrentRun, parameters: SweepParameters) -> Sweep:
    """The steps, in order; the models are trained at the same time."""
    if completed := steps.find_earlier_attempt(run.name):
        return completed
    specs, device = parameters.specs(), parameters.training.device
    with fan_out():
        dataset = fetch_dataset(parameters.data)
        training = [steps.train_point.submit(run.name, dataset, spec, device) for spec in specs]
        baselines = compute_baselines(dataset, specs)
        points = gather(training)
    return steps.complete_sweep(run, parameters, dataset, baselines, points)


def print_sweep(sweep: Sweep) -> None:
    """Print the report and where it is."""
    from flows.terminal.summary import print_report

    print_report(sweep_folder(sweep.run, prepare_artifacts_folder()) / MARKDOWN_FILE)


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal import command_line

    modules = ("tasks.encoding.encoder", "tasks.models.training")
    return command_line.run(
        sweep,
        SweepParameters,
        arguments,
        print_sweep,
        lambda _parameters: steps.STAGES,
        EXAMPLES,
        command_line.Imports(modules),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
