"""Many models at once: a grid of architectures, code sizes and seeds, trained and compared."""

import sys
from datetime import UTC, datetime

from prefect import flow
from prefect.runtime import flow_run

from tasks.core.storage import prepare_artifacts_folder
from tasks.parameters.images import DataParameters
from tasks.parameters.sweep import GridParameters, SweepParameters, SweepResultParameters
from tasks.parameters.training import TrainingParameters
from tasks.runs.building import run_in_progress
from tasks.steps import retrain as steps
from tasks.steps import sweep as sweep_steps
from tasks.steps.runners import fan_out, gather
from tasks.sweeps.records import Sweep, SweepRecord


@flow(name="sweep", description=__doc__)
def sweep(
    data: DataParameters = DataParameters(),
    grid: GridParameters = GridParameters(),
    training: TrainingParameters = TrainingParameters(),
    results: SweepResultParameters = SweepResultParameters(),
) -> Sweep:
    """Train every model of a grid that was not trained before; compare their losses.

    Args:
        data: which images to learn from.
        grid: which models learn.
        training: how they learn.
        results: how long what comes out stays.
    """
    parameters = SweepParameters(data=data, grid=grid, training=training, results=results)
    name = str(flow_run.get_id())
    with run_in_progress(name, prepare_artifacts_folder()):
        return make_sweep(name, parameters)


def make_sweep(name: str, parameters: SweepParameters) -> Sweep:
    """The steps, in order; those of the grid at once."""
    started = datetime.now(UTC)
    if finished := sweep_steps.finish_sweep(name):
        return finished

    with fan_out() as runner:
        dataset = steps.fetch_dataset(parameters.data)
        trained = [
            runner.submit(sweep_steps.train_point, name, dataset, spec, parameters.training.device)
            for spec in parameters.specs()
        ]
        baselines = sweep_steps.measure_images(dataset, parameters.grid.code_sizes)  # meanwhile
        points = gather(trained)
    return sweep_steps.complete_sweep(
        SweepRecord(
            run=name,
            started=started,
            parameters=parameters,
            dataset=dataset,
            baselines=baselines,
            points=tuple(points),
        )
    )


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal.command_line import parse, run_from_command_line
    from flows.terminal.summary import print_sweep

    parameters = parse(sweep, SweepParameters, arguments)
    modules = ("tasks.encoding.encoder", "tasks.models.training")
    return run_from_command_line(sweep, parameters, print_sweep, modules)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
